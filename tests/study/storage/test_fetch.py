import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.events import Ended, FileLogged, Interrupted, encode_event
from sweeper.study.storage.fetch import fetch_ended, fetch_trial
from sweeper.trial import DataInfo, Outcome, TrialState
from tests.support.sweep_studies import epoch
from tests.support.transfer_nodes import NUMBER, SILENT, STOPPED, Node, started


def test_another_node_finds_log_and_checkpoint(first: Node, second: Node) -> None:
    first.log(STOPPED)
    first.transfer.deliver(NUMBER, 1)
    assert second.transfer.begin(NUMBER, 2)
    assert second.logged() == first.logged() == [started(0), epoch(1, 0.5), STOPPED]
    assert second.saved() == b"one"
    assert not second.paths.fetched(NUMBER).exists()
    assert first.notes == second.notes == []


def test_what_user_code_keeps_goes_along_and_takes_the_place_of_what_was_there(
    first: Node, second: Node
) -> None:
    folder = first.paths.user_checkpoint(NUMBER)
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights").write_bytes(b"weights")
    first.transfer.deliver(NUMBER, 1)
    there = second.paths.user_checkpoint(NUMBER)
    there.mkdir(parents=True)
    (there / "old").write_bytes(b"old")
    second.transfer.begin(NUMBER, 2)
    files = [path for path in there.rglob("*") if path.is_file()]
    assert [path.relative_to(there).as_posix() for path in files] == ["deep/weights"]
    assert files[0].read_bytes() == b"weights"


def log_file(node: Node, name: str, content: bytes) -> None:
    path = node.paths.logged_files(NUMBER) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    node.log(FileLogged(1_700_000_003.0, name, hashlib.sha256(content).hexdigest()))


def test_what_user_code_logged_goes_along_beside_what_is_here(first: Node, second: Node) -> None:
    log_file(first, "plots/roc.png", b"curve")
    log_file(first, "notes.txt", b"first")
    first.paths.exported_model(NUMBER).write_bytes(b"program")
    first.transfer.deliver(NUMBER, 1)
    log_file(second, "own.txt", b"own")
    log_file(second, "notes.txt", b"second")
    second.transfer.begin(NUMBER, 2)
    folder = second.paths.logged_files(NUMBER)
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"roc.png": b"curve", "notes.txt": b"first", "own.txt": b"own"}
    assert second.paths.exported_model(NUMBER).read_bytes() == b"program"


def test_what_user_code_logged_here_and_later_stays(first: Node, second: Node) -> None:
    log_file(first, "notes.txt", b"first")
    first.transfer.deliver(NUMBER, 1)
    second.transfer.begin(NUMBER, 2)
    log_file(second, "other.txt", b"other")
    second.log(started(1), STOPPED)
    second.transfer.deliver(NUMBER, 2)
    first.log(epoch(2, 0.6))
    log_file(first, "notes.txt", b"later")
    first.transfer.begin(NUMBER, 3)
    folder = first.paths.logged_files(NUMBER)
    assert (folder / "notes.txt").read_bytes() == b"later"
    assert (folder / "other.txt").read_bytes() == b"other"


def test_of_an_ended_trial_what_user_code_logged_is_brought(first: Node, second: Node) -> None:
    log_file(first, "notes.txt", b"first")
    first.paths.exported_model(NUMBER).write_bytes(b"program")
    first.log(Ended(1_700_000_020.0, Outcome(TrialState.COMPLETE, epoch(1, 0.5))))
    first.transfer.deliver(NUMBER, 1)
    fetch_ended(second.object_store, second.paths, NUMBER)
    assert (second.paths.logged_files(NUMBER) / "notes.txt").read_bytes() == b"first"
    assert second.paths.exported_model(NUMBER).read_bytes() == b"program"


def test_what_is_here_and_further_stays(first: Node) -> None:
    first.transfer.deliver(NUMBER, 1)
    first.log(epoch(2, 0.6), SILENT)
    first.save(b"two")
    before = first.logged()
    first.transfer.begin(NUMBER, 2)
    assert first.logged() == before
    assert first.saved() == b"two"


def test_what_is_here_and_older_is_gone_on_with(first: Node, second: Node) -> None:
    """The first one was silent in its second epoch, and gets the trial back after the third."""
    first.transfer.deliver(NUMBER, 1)
    first.log(epoch(2, 0.6), SILENT)
    first.save(b"two")
    second.transfer.begin(NUMBER, 2)
    second.log(started(1), epoch(2, 0.61), epoch(3, 0.7), STOPPED)
    second.save(b"three")
    second.transfer.deliver(NUMBER, 2)
    first.transfer.begin(NUMBER, 3)
    lost = second.logged()[2]
    assert isinstance(lost, Interrupted)
    expected = [started(0), epoch(1, 0.5), epoch(2, 0.6), SILENT, lost, started(1), epoch(3, 0.7)]
    assert first.logged() == [*expected, STOPPED]
    assert first.saved() == b"three"
    first.save(b"four")
    first.transfer.begin(NUMBER, 4)
    assert first.logged() == [*expected, STOPPED], "nothing comes twice"
    assert first.saved() == b"four"


def test_a_log_that_is_here_grows_and_never_changes(first: Node, second: Node) -> None:
    """The mirror remembers how far into it everything is sent."""
    first.transfer.deliver(NUMBER, 1)
    second.log(started(0))
    before = second.paths.events(NUMBER).read_bytes()
    second.transfer.begin(NUMBER, 2)
    assert second.paths.events(NUMBER).read_bytes().startswith(before)
    *logged, last = second.logged()
    assert logged == [started(0), epoch(1, 0.5)]
    assert isinstance(last, Interrupted), "whoever reads it sees that it was begun elsewhere"


def test_a_file_that_was_damaged_in_the_object_store_is_told(
    first: Node, second: Node, tmp_path: Path
) -> None:
    first.transfer.deliver(NUMBER, 1)
    files = [path for path in (tmp_path / "object_store").rglob("*") if path.is_file()]
    [damaged] = [path for path in files if path.read_bytes() == b"one"]
    damaged.write_bytes(b"eno")
    assert second.transfer.begin(NUMBER, 2)
    assert "is not what was pushed; delete it" in second.notes[0]
    assert second.notes[1].endswith("it begins at epoch 1")
    assert second.logged() == []


def test_a_log_in_the_object_store_that_is_none_is_told(
    first: Node, second: Node, tmp_path: Path
) -> None:
    log = tmp_path / "foreign.jsonl"
    log.write_bytes(encode_event(started(0)).replace(b'"params":{', b'"params":{"x":[1],'))
    with log.open("rb") as foreign:
        first.object_store.push(NUMBER, 1, {"events.jsonl": foreign})
    assert second.transfer.begin(NUMBER, 2)
    assert "the log in the object store is none of ours" in second.notes[0]
    assert second.notes[1].endswith("it begins at epoch 1")
    assert second.logged() == []


def test_a_checkpoint_that_is_further_stays_when_others_did_less(
    first: Node, second: Node
) -> None:
    """The first one was not heard of in its third epoch; the second went on with the first's."""
    first.transfer.deliver(NUMBER, 1)
    first.log(epoch(2, 0.6), epoch(3, 0.7), SILENT)
    first.save(b"three")
    second.transfer.begin(NUMBER, 2)
    second.log(started(1), epoch(2, 0.6), STOPPED)
    second.save(b"two")
    second.transfer.deliver(NUMBER, 2)
    first.transfer.begin(NUMBER, 3)
    assert first.saved() == b"three"
    assert first.logged()[-2:] == [started(1), STOPPED]


def test_nothing_of_an_unknown_name_is_put_beside_the_log(first: Node, second: Node) -> None:
    log = first.paths.events(NUMBER)
    foreign = ("shipped.json", "model.pt/a", "checkpoint.pt/a", "checkpoint", "checkpoint.pt.tmp")
    with log.open("rb") as events:
        others = {name: io.BytesIO(name.encode()) for name in foreign}
        first.object_store.push(NUMBER, 1, {"events.jsonl": events, **others})
    fetch_trial(second.object_store, second.paths, NUMBER, pytest.fail)
    assert [path.name for path in second.paths.trial_dir(NUMBER).iterdir()] == ["events.jsonl"]


def test_what_was_fitted_to_the_data_of_an_ended_trial_comes_to_the_place_of_all(
    first: Node, second: Node
) -> None:
    data = DataInfo("rows", "0123456789abcdef", (2,), 2, 8, 2, preprocessing="fedcba9876543210")
    ended = Ended(1_700_000_020.0, Outcome(TrialState.COMPLETE, epoch(1, 0.5)))
    first.log(replace(started(1), data=data), ended)
    names = (first.paths.events(NUMBER).name, "fedcba9876543210.pt", "0000000000000000.pt")
    log = first.paths.events(NUMBER).read_bytes()
    files = {name: io.BytesIO(log if name == "events.jsonl" else b"kept") for name in names}
    first.object_store.push(NUMBER, 1, files)
    fetch_ended(second.object_store, second.paths, NUMBER)
    assert second.paths.preprocessing(data.preprocessing).read_bytes() == b"kept"
    assert len(list(second.paths.study_dir.rglob("*.pt"))) == 1, "another's was not asked for"
