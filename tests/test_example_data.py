"""scripts/example-data: each public form converted; what is whole, absent or something else."""

import gzip
import hashlib
import io
import json
import os
import pickle
import runpy
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweeper.config.settings import DataConfig
from sweeper.data.built_in.decode import decode

SCRIPT = Path(__file__).parents[1] / "scripts" / "example-data"
MODULE = runpy.run_path(str(SCRIPT))
ContentError = MODULE["ContentError"]
#: A fixture takes it out of the environment of the tests.
PUBLIC = Path(os.environ.get("SWEEPER_DATA", "data"))


def convert(name: str, *paths: Path) -> dict[str, bytes]:
    return dict(MODULE["EXAMPLES"][name].convert(*paths))


def written(path: Path, content: str | bytes) -> Path:
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_clinc150_has_all_but_what_is_out_of_scope(tmp_path: Path) -> None:
    splits = {
        "oos_train": [["why", "oos"]],
        "val": [["hi, you", "greet"]],
        "train": [["pay it", "pay"], ['say "hé"', "say"]],
        "test": [["bye", "leave"]],
    }
    path = written(tmp_path / "data_full.json.gz", json.dumps(splits))
    assert convert("clinc150", path)["clinc150.csv"].decode() == (
        "text,intent,split\n"
        "pay it,pay,train\n"
        '"say ""hé""",say,train\n'
        '"hi, you",greet,val\n'
        "bye,leave,test\n"
    )


def test_a_sentence_of_rt_polarity_ends_at_a_newline_alone(tmp_path: Path) -> None:
    positive = written(tmp_path / "rt-polarity.pos", 'good \x85 fun . \n a "\rb \n')
    negative = written(tmp_path / "rt-polarity.neg", "dull .\n")
    assert convert("rt-polarity", positive, negative)["rt-polarity.csv"].decode() == (
        'text,label\ngood \x85 fun .,positive\n"a ""\rb",positive\ndull .,negative\n'
    )


def test_banking77_is_one_table_of_both_splits(tmp_path: Path) -> None:
    train = written(tmp_path / "train.csv", 'text,category\r\n"\nIs it, here?",arrival\r\n')
    test = written(tmp_path / "test.csv", "text,category\r\nNo pin,pin\r\n")
    assert convert("banking77", train, test)["banking77.csv"].decode() == (
        'text,intent,split\n"\nIs it, here?",arrival,train\nNo pin,pin,test\n'
    )


def test_the_first_five_takes_of_fsdd_are_its_test_rows_and_the_next_its_validation_rows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fsdd.tar.gz"
    clips = ["1_theo_0", "0_theo_10", "0_theo_5", "0_theo_4"]
    names = [f"fsdd-1.0/recordings/{clip}.wav" for clip in clips]
    with tarfile.open(path, "w:gz") as tar:
        for name in [*names, "fsdd-1.0/readme.md", "fsdd-1.0/recordings/0_theo_1.wav.md5"]:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    files = convert("fsdd", path)
    assert files.pop("fsdd/clips.csv").decode() == (
        "file,digit,speaker,take,split\n"
        "recordings/0_theo_4.wav,0,theo,4,test\n"
        "recordings/0_theo_5.wav,0,theo,5,val\n"
        "recordings/0_theo_10.wav,0,theo,10,train\n"
        "recordings/1_theo_0.wav,1,theo,0,test\n"
    )
    assert files == {
        f"fsdd/recordings/{clip}.wav": name.encode()
        for clip, name in zip(clips, names, strict=True)
    }


def test_adult_has_a_header_gaps_and_the_same_labels_in_both_splits(tmp_path: Path) -> None:
    middle = "77516, Bachelors, 13, Never-married, ?, Not-in-family, White, Male, 2174, 0, 40, ?"
    train = written(tmp_path / "adult.data.gz", f"39, State-gov, {middle}, <=50K\n\n")
    test = written(tmp_path / "adult.test", f"|1x3 Cross validator\n25, ?, {middle}, >50K.\n\n")
    assert convert("adult", train, test)["adult.csv"].decode() == (
        "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,"
        "sex,capital_gain,capital_loss,hours_per_week,native_country,income,split\n"
        "39,State-gov,77516,Bachelors,13,Never-married,,Not-in-family,White,Male,2174,0,40,,<=50K,"
        "train\n"
        "25,,77516,Bachelors,13,Never-married,,Not-in-family,White,Male,2174,0,40,,>50K,test\n"
    )


@pytest.mark.parametrize("name", ["california_housing", "protein"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_table_as_it_should_be_is_unpacked(name: str, suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"{name}.csv{suffix}", "a,b\n1,\n")
    assert convert(name, path) == {f"{name}.csv": b"a,b\n1,\n"}


def cifar_sources(folder: Path, n_strips: int = 6) -> list[Path]:
    """Strips of two pictures. Picture i of all twelve is red i, green 100 + i, blue 200 + i."""
    strips = []
    for number in range(n_strips):
        pixels = np.empty((64, 32, 3), np.uint8)
        for row in range(2):
            red = 2 * number + row
            pixels[32 * row : 32 * row + 32] = (red, 100 + red, 200 + red)
        strips.append(folder / (f"train_{number}.webp" if number < 5 else "test_0.webp"))
        Image.fromarray(pixels).save(strips[-1], lossless=True)
    rows = [f"{'train' if i < 10 else 'test'},{i % 10},{i % 3},{i}.png\n" for i in range(12)]
    labels = written(folder / "labels.csv.gz", "".join(["split,index,label,filename\n", *rows]))
    return [labels, written(folder / "classes.txt", "cat\ndog\nfrog\n"), *strips]


def test_strips_of_cifar10_become_torchvisions_batches(tmp_path: Path) -> None:
    files = convert("cifar10", *cifar_sources(tmp_path))
    loaded = {path: pickle.loads(content, encoding="latin1") for path, content in files.items()}
    folder = "cifar-10-batches-py"
    meta = {"num_cases_per_batch": 2, "label_names": ["cat", "dog", "frog"], "num_vis": 3072}
    assert loaded.pop(f"{folder}/batches.meta") == meta
    wanted = [(f"data_batch_{n}", f"training batch {n} of 5") for n in range(1, 6)]
    wanted.append(("test_batch", "testing batch 1 of 1"))
    assert list(loaded) == [f"{folder}/{name}" for name, _ in wanted]
    for number, (batch, (_, title)) in enumerate(zip(loaded.values(), wanted, strict=True)):
        rows = [2 * number, 2 * number + 1]
        channels = [[row, 100 + row, 200 + row] for row in rows]
        np.testing.assert_array_equal(batch.pop("data"), np.repeat(channels, 1024, axis=1))
        assert batch == {
            "batch_label": title,
            "labels": [row % 3 for row in rows],
            "filenames": [f"{row}.png" for row in rows],
        }


def test_as_many_pictures_as_labels(tmp_path: Path) -> None:
    labels, classes, *strips = cifar_sources(tmp_path)
    Image.new("RGB", (32, 96)).save(strips[2])
    with pytest.raises(ValueError, match="training batch 3 of 5: 2 labels, 3 pictures"):
        convert("cifar10", labels, classes, *strips)


CONTENT = b"a,b\n1,2\n"
OTHER = hashlib.sha256(b"other").hexdigest()
HOUSING = replace(
    MODULE["EXAMPLES"]["california_housing"],
    results={"california_housing.csv": hashlib.sha256(CONTENT).hexdigest()},
)


def make(example: Any, folder: Path) -> str:
    (folder / "dest").mkdir(exist_ok=True)
    return str(MODULE["make"]("housing", example, folder / "source", folder / "dest"))


def housing(folder: Path, content: bytes = CONTENT) -> Path:
    return written(folder / "source" / "tabular" / "california_housing.csv.gz", content)


def test_what_was_made_is_left_alone(tmp_path: Path) -> None:
    source = housing(tmp_path)
    assert make(HOUSING, tmp_path) == "made california_housing.csv"
    result = tmp_path / "dest" / "california_housing.csv"
    assert result.read_bytes() == CONTENT
    before = result.stat()
    assert make(HOUSING, tmp_path) == "there already, left alone"
    source.unlink()
    assert make(HOUSING, tmp_path) == "there already, left alone"
    assert result.stat() == before
    assert [path.name for path in result.parent.iterdir()] == [result.name]


def test_of_two_results_the_one_that_is_absent_is_made(tmp_path: Path) -> None:
    housing(tmp_path)
    names = ["a/first.csv", "a/second.csv"]
    example = replace(
        HOUSING,
        results=dict.fromkeys(names, hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()),
        convert=lambda path: iter([(name, CONTENT) for name in names]),
    )
    first = written(tmp_path / "dest" / "a" / "first.csv", CONTENT)
    before = first.stat()
    assert make(example, tmp_path) == "made a/second.csv"
    assert (first.parent / "second.csv").read_bytes() == CONTENT
    assert first.stat() == before


def test_what_the_source_lacks_is_said(tmp_path: Path) -> None:
    path = tmp_path / "source" / "tabular" / "california_housing.csv"
    assert make(HOUSING, tmp_path) == f"skipped, as there is no {path}"


def test_a_source_of_another_content_is_named_and_nothing_kept(tmp_path: Path) -> None:
    source = housing(tmp_path, b"other")
    with pytest.raises(ContentError) as told:
        make(HOUSING, tmp_path)
    wanted = HOUSING.results["california_housing.csv"]
    assert str(told.value) == (
        f"{source}: not the content that is expected: california_housing.csv would be made, but "
        f"its sha256 is {OTHER}, not {wanted}; get what docs/files.md names"
    )
    assert list((tmp_path / "dest").iterdir()) == []


def test_a_damaged_source_is_named_and_nothing_kept(tmp_path: Path) -> None:
    source = housing(tmp_path)
    source.write_bytes(source.read_bytes()[:-9])
    with pytest.raises(ContentError, match=rf"^{source}: cannot be converted: EOFError\("):
        make(HOUSING, tmp_path)
    assert list((tmp_path / "dest").iterdir()) == []


def test_a_file_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    housing(tmp_path)
    result = written(tmp_path / "dest" / "california_housing.csv", "other")
    with pytest.raises(ContentError) as told:
        make(HOUSING, tmp_path)
    wanted = HOUSING.results["california_housing.csv"]
    assert str(told.value) == (
        f"{result}: there already, but its sha256 is {OTHER}, not {wanted}; move it away"
    )
    assert result.read_bytes() == b"other"


def test_the_digest_of_a_folder_is_that_of_its_list(tmp_path: Path) -> None:
    for name in ("b", "a"):
        written(tmp_path / name, name)
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in "ab")
    wanted = hashlib.sha256(lines.encode()).hexdigest()
    assert MODULE["digest"](tmp_path, "sha256") == wanted


def test_of_many_files_the_folder_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    assert MODULE["named"](paths[:2]) == f"{tmp_path}/a and {tmp_path}/b"
    assert MODULE["named"](paths) == str(tmp_path)


def test_progress_is_told_each_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clips() -> Iterator[tuple[str, bytes]]:
        yield from ((str(number), b"") for number in range(5))

    seconds = count(step=0.5)
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    MODULE["write"]("fsdd", replace(HOUSING, convert=clips, n_files=5), [], tmp_path)
    # Each time is looked at once, or twice where a line is printed.
    assert capsys.readouterr().err == "fsdd: 2 of 5 files\nfsdd: 4 of 5 files\n"


def test_one_that_is_wrong_does_not_keep_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    housing(tmp_path, b"other")
    assert MODULE["main"](tmp_path / "source", tmp_path / "dest") == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"california_housing: {tmp_path}/source/tabular/california_housing.csv")
    assert len(err.splitlines()) == 1
    others = [name for name in MODULE["EXAMPLES"] if name != "california_housing"]
    assert [line.split(": skipped, as there is no ")[0] for line in out.splitlines()] == others


def test_a_source_without_any_of_them_is_no_error(tmp_path: Path) -> None:
    assert MODULE["main"](tmp_path, tmp_path / "dest") == 0


def test_a_source_that_is_no_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MODULE["main"](tmp_path / "nowhere", tmp_path / "dest") == 1
    wanted = f"{tmp_path}/nowhere: not a folder; name the one with the public files\n"
    assert capsys.readouterr().err == wanted
    assert not (tmp_path / "dest").exists()


@pytest.mark.slow
def test_the_public_files_become_what_they_should(tmp_path: Path) -> None:
    sources = [path for example in MODULE["EXAMPLES"].values() for path in example.sources]
    for path in sources:
        if not MODULE["packed_or_not"](PUBLIC / path).is_file():
            pytest.skip(f"no {PUBLIC / path}; $SWEEPER_DATA names the folder of the public files")
    command = [sys.executable, str(SCRIPT), str(PUBLIC), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = [line.split(": made ")[0] for line in done.stdout.splitlines()]
    assert made == list(MODULE["EXAMPLES"])
    inputs, targets = decode(DataConfig(name="cifar10", root=str(tmp_path)))
    assert inputs.shape == (50_000, 3, 32, 32)
    assert np.bincount(targets).tolist() == [5_000] * 10
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout.count(": there already, left alone\n") == len(made)
