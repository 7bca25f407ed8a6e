import io

import pytest

from sweeper.study.storage.manifest import (
    Content,
    Manifest,
    claim_of,
    digest,
    manifest_key,
    manifests_among,
)

#: SHA-256 of "abc", as FIPS 180-4 has it in its example.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
RECORD = b'{"checkpoint.pt": {"sha256": "%s", "size": 3}}' % ABC.encode()


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = Manifest(2, 5, {"checkpoint.pt": Content(ABC, 3)})
    assert manifest.render() == RECORD
    assert Manifest.parse(2, 5, RECORD) == manifest


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        RECORD[:-9],
        b"[]",
        b'{"a": 1}',
        b'{"a": {"size": 1}}',
        RECORD.replace(ABC.encode(), b"../../../secret"),
        RECORD.replace(ABC.encode(), ABC.upper().encode()),
        RECORD.replace(b"3}", b'"x"}'),
        b"[" * 100_000,
    ],
    ids=range(9),
)
def test_what_is_torn_is_no_manifest(torn: bytes) -> None:
    with pytest.raises(ValueError, match="is no manifest"):
        Manifest.parse(1, 1, torn)


@pytest.mark.parametrize(
    "name", [b"/etc/passwd", b"../0001/events.jsonl", b"a//b", b"./a", b".", b"", b"a\\u0000"]
)
def test_names_outside_the_trials_folder_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="outside the trial's folder"):
        Manifest.parse(1, 1, RECORD.replace(b"checkpoint.pt", name))


def test_a_key_tells_its_claim() -> None:
    content = Content(ABC, 3)
    keys = [Manifest(3, 1, {}).key(content), manifest_key(3, 12), manifest_key(1_000_000, 1)]
    assert keys == [f"000003/{ABC}", "000003/000012.json", "1000000/000001.json"]
    foreign = ["000003/000012.json.tmp", "0000003/000012.json", "00000\u0663/000001.json"]
    assert list(manifests_among([*keys, "events.jsonl", *foreign])) == [
        (3, 12),
        (1_000_000, 1),
    ]
    assert [claim_of(key) for key in [*keys, "events.jsonl"]] == [3, 3, 1_000_000, None]


def test_a_digest_is_of_the_whole_file_which_is_read_again_afterwards() -> None:
    file = io.BytesIO(b"abc")
    assert digest(file) == Content(ABC, 3)
    assert file.read() == b"abc"
