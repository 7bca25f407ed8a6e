"""What must hold of an object store wherever its files lie."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from sweeper.durable import CRASH_VARIABLE
from sweeper.errors import StoreError, StudyError
from sweeper.study.storage.manifest import Manifest
from sweeper.study.storage.object_store import ObjectStore, check_object_store
from tests.support.sweep_studies import killed

NUMBER = 3
OLD, NEW = b"weights of epoch 1", b"weights of epoch 2, some more"


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        (tmp_path / "object_store").mkdir()
        yield f"file://{tmp_path}/object_store"
        return
    url = f"{request.getfixturevalue('s3_url')}/object_store"
    yield url
    system, root = fsspec.core.url_to_fs(url)
    if system.exists(root):
        system.rm(root, recursive=True)


@pytest.fixture
def object_store(url: str) -> ObjectStore:
    return open_object_store(url)


def open_object_store(url: str) -> ObjectStore:
    """As another process would."""
    return ObjectStore(url, study="small", key="0a1b2c")


def push(
    object_store: ObjectStore, claim: int, checkpoint: bytes, *, number: int = NUMBER
) -> None:
    files = {"events.jsonl": b"{}\n", "checkpoint.pt": checkpoint, "checkpoint/own/a": b"own"}
    object_store.push(
        number, claim, {name: io.BytesIO(content) for name, content in files.items()}
    )


def fetched(object_store: ObjectStore, folder: Path, name: str = "checkpoint.pt") -> bytes:
    manifest = object_store.newest(NUMBER)
    assert manifest is not None
    object_store.fetch(NUMBER, manifest, name, folder / "fetched" / name)
    return (folder / "fetched" / name).read_bytes()


def objects(url: str, number: int = NUMBER) -> dict[str, bytes]:
    """All that is there of a trial, by path."""
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    folder = f"{root}/small/0a1b2c/{number:04d}/"
    return {path.removeprefix(folder): system.cat_file(path) for path in system.find(folder)}


def write(url: str, path: str, content: bytes) -> None:
    system, root = fsspec.core.url_to_fs(url, **({"auto_mkdir": True} if "file" in url else {}))
    system.pipe_file(f"{root}/small/0a1b2c/{NUMBER:04d}/{path}", content)


def test_what_was_pushed_is_fetched(url: str, object_store: ObjectStore, tmp_path: Path) -> None:
    assert object_store.newest(NUMBER) is None
    push(object_store, 1, OLD)
    other = open_object_store(url)
    assert other.numbers() == {NUMBER}
    assert fetched(other, tmp_path) == OLD
    assert fetched(other, tmp_path, "checkpoint/own/a") == b"own"


def test_big_files_come_through(object_store: ObjectStore, tmp_path: Path) -> None:
    big = bytes(range(256)) * 2**17  # 32 MiB, several blocks of a copy
    push(object_store, 1, big)
    assert fetched(object_store, tmp_path) == big


def test_a_push_takes_the_place_of_the_one_before(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    push(object_store, 1, OLD)
    kept = {path for path, content in objects(url).items() if content == b"own"}
    push(object_store, 1, NEW)
    assert fetched(object_store, tmp_path) == NEW
    assert len(objects(url)) == 4
    assert kept <= objects(url).keys(), "what stayed the same was sent again"


def test_the_same_again_changes_nothing(url: str, object_store: ObjectStore) -> None:
    push(object_store, 1, OLD)
    before = objects(url)
    push(open_object_store(url), 1, OLD)
    assert objects(url) == before


def test_a_later_claim_clears_away_what_earlier_ones_left(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    push(object_store, 1, OLD)
    push(open_object_store(url), 2, NEW)
    assert fetched(object_store, tmp_path) == NEW
    assert {path.partition("/")[0] for path in objects(url)} == {"000002"}


def test_a_late_push_of_a_lost_claim_changes_nothing(url: str, object_store: ObjectStore) -> None:
    push(object_store, 1, OLD)
    push(open_object_store(url), 2, NEW)
    before = objects(url)
    push(object_store, 1, OLD + OLD)
    assert objects(url) == before


def test_a_lost_claim_that_was_pushing_when_it_was_lost_does_not_count(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    late = ObjectStore(url, study="small", key="0a1b2c")
    manifest = Manifest(1, 1, {})
    push(object_store, 2, NEW)
    late._write(NUMBER, manifest, {}, lambda: True)  # it had looked before the other was there
    late._tidy(NUMBER, manifest, late._list(f"{NUMBER:04d}"))
    assert fetched(object_store, tmp_path) == NEW
    push(object_store, 2, NEW + NEW)
    assert {path.partition("/")[0] for path in objects(url)} == {"000002"}


def push_new(url: str, claim: int) -> None:
    push(open_object_store(url), claim, NEW)


@pytest.mark.parametrize("claim", [1, 2])
@pytest.mark.parametrize("point", ["object-store-content.after", "object-store-manifest.before"])
def test_a_push_that_was_killed_leaves_the_one_before(
    point: str, claim: int, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(open_object_store(url), 1, OLD)
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / point).touch()
    with monkeypatch.context() as patch:
        patch.setenv(CRASH_VARIABLE, str(armed))
        killed(push_new, url, claim)
    assert not list(armed.iterdir())
    assert fetched(open_object_store(url), tmp_path) == OLD
    push_new(url, claim)
    assert fetched(open_object_store(url), tmp_path) == NEW
    assert len(objects(url)) == 4


def test_a_claim_of_which_something_is_missing_does_not_count(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    push(object_store, 1, OLD)
    text = json.dumps({"checkpoint.pt": {"sha256": "0" * 64, "size": 7}})
    write(url, "000002/000001.json", text.encode())
    assert fetched(object_store, tmp_path) == OLD
    write(url, f"000002/{'0' * 64}", b"torn")
    assert fetched(object_store, tmp_path) == OLD


@pytest.mark.parametrize(
    "text",
    [
        '{"events.jsonl": {"sha',
        "[1]",
        '{"events.jsonl": {"sha256": "0", "size": 1, "mode": 7}}',
        '{"../../shipped.json": {"sha256": "0", "size": 1}}',
        '{"/etc/passwd": {"sha256": "0", "size": 1}}',
        '{"checkpoint/../../x": {"sha256": "0", "size": 1}}',
    ],
)
def test_what_is_no_manifest_does_not_count(
    text: str, url: str, object_store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    write(url, "000001/000001.json", text.encode())
    write(url, "000001/0", b"x")
    assert object_store.newest(NUMBER) is None
    assert f"{NUMBER:04d}/000001/000001.json: " in caplog.text


def test_other_content_than_was_pushed_is_refused(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    push(object_store, 1, OLD)
    [path] = [path for path, content in objects(url).items() if content == OLD]
    write(url, path, OLD[::-1])
    with pytest.raises(StoreError, match=f"{path} is not what was pushed; delete it"):
        fetched(object_store, tmp_path)


def test_a_push_that_is_given_up_leaves_the_one_before(
    url: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    push(object_store, 1, OLD)
    answers = iter([True, False])
    files = {"checkpoint.pt": io.BytesIO(NEW)}
    object_store.push(NUMBER, 1, files, lambda: next(answers, False))
    assert fetched(object_store, tmp_path) == OLD
    push(object_store, 1, NEW)
    assert fetched(object_store, tmp_path) == NEW


def test_a_trial_leaves_nothing_once_it_is_removed(url: str, object_store: ObjectStore) -> None:
    push(object_store, 2, OLD)
    object_store.remove(NUMBER)
    assert objects(url) == {}
    assert object_store.numbers() == set()
    object_store.remove(NUMBER)


def test_trials_and_studies_do_not_meet(url: str, object_store: ObjectStore) -> None:
    for number in (1004, 10042):
        push(object_store, 1, OLD, number=number)
    object_store.remove(1004)
    assert object_store.numbers() == {10042}
    assert ObjectStore(url, study="small", key="other").numbers() == set()


def test_what_somebody_else_left_there_is_of_no_trial(url: str, object_store: ObjectStore) -> None:
    push(object_store, 1, OLD)
    options = {"auto_mkdir": True} if url.startswith("file:") else {}
    system, root = fsspec.core.url_to_fs(url, **options)
    for foreign in ("\u00b2\u00b2\u00b2\u00b2", "12", "00001", "9" * 40, "a b"):
        system.pipe_file(f"{root}/small/0a1b2c/{foreign}/000001/000001.json", b"{}")
    assert object_store.numbers() == {NUMBER}


def test_a_place_that_takes_files_is_an_object_store(url: str) -> None:
    check_object_store(url)
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    assert system.find(root) == []


def test_a_folder_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/absent"
    with pytest.raises(StoreError, match="the object store cannot be used: FileNotFoundError: "):
        open_object_store(url).newest(NUMBER)
    with pytest.raises(StudyError, match="see that the bucket or folder is there"):
        check_object_store(url)
