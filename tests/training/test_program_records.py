"""What programs print and write of their epochs."""

import json
import math
import os
from pathlib import Path

import pytest

from sweeper.errors import TrainingError
from sweeper.training.program_records import JsonLines, MetricsFile, Record, Words


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('{"epoch": 3, "loss": 0.5}', Record(3, {"loss": 0.5})),
        (' {"loss": 1, "epoch": 2.0, "ok": true} ', Record(2, {"loss": 1.0, "ok": 1.0})),
        ('{"epoch": 0, "phase": "val", "x": null}', Record(0, {}, ("phase", "x"))),
        ('{"epoch": 1, "loss": -Infinity}', Record(1, {"loss": -math.inf})),
        ('{"epoch": 1, "n": 1' + "0" * 400 + "}", Record(1, {"n": math.inf})),
        ('{"loss": 0.5}', None),
        ('{"epoch": "3", "loss": 0.5}', None),
        ('{"epoch": true}', None),
        ('{"epoch": 1.5}', None),
        ('{"epoch": -1}', None),
        ('{"epoch": 1' + "0" * 30 + "}", None),
        ("{'epoch': 3, 'loss': 0.5}", None),
        ('[{"epoch": 3}]', None),
        ("{" * 100_000 + "}", None),
        ("", None),
    ],
)
def test_a_json_object_with_an_epoch_is_a_record(line: str, record: Record | None) -> None:
    assert JsonLines().read(line) == record


def test_nan_is_a_number() -> None:
    record = JsonLines().read('{"epoch": 1, "loss": NaN}')
    assert record is not None
    assert math.isnan(record.values["loss"])


def records(patterns: dict[str, str], *lines: str) -> list[Record]:
    words = Words(patterns)
    return [record for line in lines if (record := words.read(line))]


def test_words_are_a_record_once_all_have_come() -> None:
    patterns = {"loss": "loss=([0-9.]+)", "accuracy": r"acc (\S+)%"}
    lines = ["Training", "loss=0.9", "loss=0.8", "acc 50%", "loss=0.5, acc 75.5%", "acc 80%"]
    assert records(patterns, *lines) == [
        Record(None, {"loss": 0.8, "accuracy": 50.0}),
        Record(None, {"loss": 0.5, "accuracy": 75.5}),
    ]


def test_a_name_may_be_the_epoch() -> None:
    patterns = {"epoch": r"Epoch (\d+)/", "loss": r"loss (\S+)"}
    lines = ["Epoch 4/9", "loss 0.5", "Epoch 5/9", "Epoch 6/9", "loss 0.25"]
    assert records(patterns, *lines) == [Record(4, {"loss": 0.5}), Record(6, {"loss": 0.25})]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.25", 0.25),
        ("1.2e+10,", 1.2e10),
        ("0.5.", 0.5),
        ("3%", 3.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
@pytest.mark.parametrize("pattern", [r"loss=(-?[0-9.]+)", r"loss=(\S+)", r"loss=(?P<x>-?\d*\S*)"])
def test_a_number_is_read_as_a_whole(pattern: str, text: str, value: float) -> None:
    assert records({"loss": pattern}, f"info: loss={text} acc=1") == [
        Record(None, {"loss": value})
    ]


def test_nan_is_found_where_a_number_is_expected() -> None:
    [record] = records({"loss": r"loss=(\d+\.\d{4})"}, "a nan loss=nan nan")
    assert math.isnan(record.values["loss"])
    assert records({"loss": r"loss=(\d+)"}, "loss=banana", "nan") == []


@pytest.mark.parametrize(
    ("patterns", "line", "said"),
    [
        (
            {"loss": "loss=(.*)"},
            "loss=low",
            r"train.report.loss: .* finds 'low', which",
        ),
        ({"epoch": r"Epoch (\S+)", "loss": "(1)"}, "Epoch 1.5", "finds '1.5', which is no whole"),
        ({"loss": "loss=(.*)"}, "loss=1,234", "finds '1,234', which is no number, in the line"),
    ],
)
def test_what_is_no_number_is_refused(patterns: dict[str, str], line: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        records(patterns, line)


def write(path: Path, text: str) -> None:
    """As of another moment than whatever was there."""
    stamp = path.stat().st_mtime_ns + 1_000_000 if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(stamp, stamp))


def read(file: MetricsFile, *, is_whole: bool = False) -> list[Record]:
    return list(file.read(is_whole=is_whole))


def test_a_table_is_followed_as_it_grows(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    assert read(file) == []
    write(file.path, "\ufeffepoch, val loss,note\n0,0.5,a\n1,0.2")
    assert read(file) == [Record(0, {"val loss": 0.5}, ("note",))]
    assert read(file) == []
    write(file.path, "epoch,val loss\n0,0.5\n1,0.25\n\n1,\n2,nan")
    assert read(file) == [Record(1, {"val loss": 0.25}), Record(1, {})]
    [last] = read(file, is_whole=True)
    assert last.epoch == 2
    assert math.isnan(last.values["val loss"])


def test_a_table_that_gets_another_column_is_read_from_where_it_was(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    write(file.path, "epoch,a\n0,1\n")
    assert read(file) == [Record(0, {"a": 1.0})]
    write(file.path, "epoch,a,b\n0,1,\n0,,2\n")
    assert read(file) == [Record(0, {"b": 2.0})]


def test_a_file_that_is_begun_anew_is_read_anew(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    rows = [json.dumps({"epoch": n, "loss": n / 2}) + "\n" for n in range(3)]
    write(file.path, "".join(rows))
    assert [record.epoch for record in read(file)] == [0, 1, 2]
    write(file.path, f"{rows[0]}no record\n")
    assert [record.epoch for record in read(file)] == [0]


def test_rows_need_no_epoch(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    write(file.path, "loss,lr\n0.5,1e-3\n")
    assert read(file) == [Record(None, {"loss": 0.5, "lr": 0.001})]


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    write(file.path, "loss\n" + "x" * 200_000 + "\n")
    with pytest.raises(TrainingError, match="train.metrics: the file cannot be read as CSV"):
        read(file)
