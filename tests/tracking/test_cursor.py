import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from sweeper.durable import aside_of
from sweeper.tracking.cursor import Cursor
from tests.support.disk_calls import note_disk_calls


def test_what_counts_as_sent_is_on_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log = tmp_path / "shipped.json", tmp_path / "events.jsonl"
    log.write_text("{}\n")
    done = note_disk_calls(monkeypatch)
    cursor = Cursor(parent_id="parent", run_id="run", offset=3, last_epoch=1)
    cursor.save(path, log)
    assert done == [("fsync", log), ("fsync", aside_of(path)), ("rename", path)]
    assert Cursor.load(path, "parent") == cursor


def test_a_cursor_of_another_parent_run_is_void(tmp_path: Path) -> None:
    path, log = tmp_path / "shipped.json", tmp_path / "events.jsonl"
    log.touch()
    cursor = Cursor(parent_id="old", run_id="run", offset=3)
    cursor.save(path, log)
    assert Cursor.load(path, "new") == Cursor(parent_id="new")
    assert Cursor.load(path, None) == cursor


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "' or run_id != '"},
        {"run_id": "../../experiments"},
        {"parent_id": 7},
        {"offset": -1},
        {"offset": "x"},
        {"best": {"epoch": 0, "values": {}, "time_s": 0}},
        {"shown": [1]},
        {"more": 1},
    ],
)
def test_a_cursor_that_somebody_else_wrote_is_void_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Mapping[str, object]
) -> None:
    path = tmp_path / "shipped.json"
    path.write_text(json.dumps({**asdict(Cursor(parent_id="parent", run_id="run")), **change}))
    assert Cursor.load(path, "parent") == Cursor(parent_id="parent")
    assert "shipped.json: unreadable" in caplog.text
