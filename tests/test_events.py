import json
import math
import os
import resource
from pathlib import Path

import pytest

from sweeper.config.settings import ModelConfig
from sweeper.errors import EventLogError
from sweeper.events import (
    Ended,
    Event,
    EventWriter,
    Interrupted,
    Started,
    decode_event,
    encode_event,
    read_events,
)
from sweeper.trial import DataInfo, EpochMetrics, Outcome, TrialState
from tests.support.disk_calls import note_disk_calls

DATA = DataInfo("digits", "0123456789abcdef", (1, 8, 8), 10, 1500, 297, (0.3,), (0.4,))
MODEL = ModelConfig(architecture="mlp", params={"depth": 2, "dropout": 0.5})
EPOCH = EpochMetrics(1, {"val_accuracy": 0.5, "train_loss": 2.0}, 1001.5)
EVENTS: tuple[Event, ...] = (
    Started(1000.0, 0, {"train.epochs": 2, "data.root": None}, {"seed": "7"}, DATA, MODEL),
    Started(1000.0, 3, {}, {}, None, None),
    EPOCH,
    Interrupted(1002.0, "stopped after epoch 1"),
    Ended(1003.0, Outcome(TrialState.COMPLETE, EPOCH), {"packed": "2"}),
    Ended(1003.0, Outcome(TrialState.FAILED, None, 'KeyError: "ü"', "a\nb\u2028c\x85d")),
)


def write(path: Path, *events: Event) -> None:
    with EventWriter(path) as writer:
        for event in events:
            writer.append(event)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_line_that_reads_back(event: Event) -> None:
    line = encode_event(event)
    assert decode_event(line) == event
    assert line.count(b"\n") == 1
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"] == type(event).__name__


def changed(event: Event, path: str, value: object) -> bytes:
    """The line of an event in which somebody has set what lies there."""
    record = json.loads(encode_event(event))
    *above, key = path.split(".")
    inner = record
    for name in above:
        inner = inner[name]
    inner[key] = value
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("event", "Exec"),
        ("time_s", "now"),
        ("time_s", math.nan),
        ("time_s", -1),
        ("time_s", 1e300),
        ("resumed", -1),
        ("resumed", "often"),
        ("params", ["a"]),
        ("params.width", [1]),
        ("tags.seed", 7),
        ("more", 1),
        ("data.more", 1),
        ("data.input_shape", ["touch", "/tmp/owned"]),
        ("data.input_shape", [1, 0]),
        ("data.input_shape", "touch"),
        ("data.n_outputs", 0),
        ("data.n_outputs", -1),
        ("data.n_outputs", "ten"),
        ("data.mean", [math.nan]),
        ("data.std", [0.0]),
        ("data.std", [1.0, 1.0]),
        ("model.architecture", 7),
        ("model.architecture", "nets:build()"),
        ("model.architecture", "../nets:build"),
        ("model.architecture", "\x1b[2Jmlp"),
        ("model.params", "width"),
    ],
)
def test_a_start_that_nobody_of_ours_can_have_written_is_refused(
    tmp_path: Path, path: str, value: object
) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(encode_event(EPOCH) + changed(EVENTS[0], path, value) + b"\n")
    with pytest.raises(EventLogError, match="events.jsonl: an event cannot be read"):
        read_events(log)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"7",
        pytest.param(b"[" * 100_000, id="deep"),
        changed(EPOCH, "epoch", 0),
        changed(EPOCH, "epoch", 2**63),
        changed(EPOCH, "values", {"val_accuracy": "high"}),
        changed(EVENTS[3], "time_s", math.inf),
        changed(EVENTS[4], "outcome.state", "great"),
        changed(EVENTS[4], "outcome.best.epoch", None),
        changed(EVENTS[4], "outcome.kind", "bad_luck"),
        changed(EVENTS[4], "outcome.retries", "x"),
    ],
)
def test_nor_is_any_other_event(tmp_path: Path, line: bytes) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(line + b"\n")
    with pytest.raises(EventLogError, match="events.jsonl: an event cannot be read"):
        read_events(log)


def test_values_that_are_not_finite_read_back() -> None:
    event = EpochMetrics(1, {"a": math.inf, "b": -math.inf, "c": math.nan}, 0.0)
    decoded = decode_event(encode_event(event))
    assert isinstance(decoded, EpochMetrics)
    assert str(decoded.values) == "{'a': inf, 'b': -inf, 'c': nan}"


def test_a_log_reads_on_from_where_it_was_read_to(tmp_path: Path) -> None:
    path = tmp_path / "trial" / "events.jsonl"
    assert read_events(path) == ([], 0)
    write(path, *EVENTS[:2])
    first, offset = read_events(path)
    write(path, *EVENTS[2:])
    rest, end = read_events(path, offset)
    assert (*first, *rest) == EVENTS
    assert end == path.stat().st_size
    assert read_events(path, end) == ([], end)


@pytest.mark.parametrize("n_bytes", [1, 20])
def test_readers_stop_before_a_torn_line_and_the_next_writer_cuts_it_off(
    tmp_path: Path, n_bytes: int
) -> None:
    path = tmp_path / "events.jsonl"
    write(path, EVENTS[0], EPOCH)
    os.truncate(path, path.stat().st_size - n_bytes)
    events, offset = read_events(path)
    assert events == [EVENTS[0]]
    assert offset == len(encode_event(EVENTS[0]))
    write(path, EVENTS[3])
    assert read_events(path, offset)[0] == [EVENTS[3]]
    assert read_events(path)[0] == [EVENTS[0], EVENTS[3]]


def test_a_log_torn_in_its_first_line_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_event(EVENTS[0])[:-1])
    write(path, EPOCH)
    assert read_events(path)[0] == [EPOCH]


@pytest.mark.parametrize("event", [EVENTS[3], EVENTS[4]])
def test_what_the_storage_is_told_next_is_on_disk_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Event
) -> None:
    path = tmp_path / "events.jsonl"
    done = note_disk_calls(monkeypatch)
    write(path, EPOCH, event)
    assert done == [("fsync", path)]


def test_an_event_without_room_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventWriter(path) as writer:
        writer.append(EPOCH)
        room = path.stat().st_size + 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as a disk with 10 bytes left
        try:
            with pytest.raises(OSError, match="No space left on device"):
                writer.append(EVENTS[3])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert read_events(path) == ([EPOCH], path.stat().st_size)
        writer.append(EVENTS[4])
    assert read_events(path)[0] == [EPOCH, EVENTS[4]]
