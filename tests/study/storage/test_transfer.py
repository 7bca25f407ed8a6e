import threading
from pathlib import Path
from typing import Any

import pytest

from sweeper.events import Event, EventWriter, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.transfer import EVERY_S, TrialTransfer, fetch_trial
from tests.support.sweep_studies import epoch

NUMBER = 0


def started(resumed: int) -> Started:
    return Started(
        1_700_000_000.0 + resumed, resumed, {"train.l1": 0.1}, {"seed": "7"}, None, None
    )


STOPPED = Interrupted(1_700_000_009.0, "stopped", {"step": 1.5})
SILENT = Interrupted(1_700_000_010.0, "its process ended without a word")


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class SlowObjectStore(ObjectStore):
    """Answers when it is told to, and takes so many seconds of a clock for a push."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, study="small", key="0a1b2c")
        self.answers = threading.Event()
        self.answers.set()
        self.takes_s = 0.0
        self._clock = clock

    def push(self, *arguments: Any) -> None:
        self.answers.wait()
        super().push(*arguments)
        self._clock.now_s += self.takes_s


class Node:
    """A folder of its own, and one worker there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.paths = RunPaths(folder / "mlruns", "small")
        self.notes: list[str] = []
        self.clock = Clock()
        self.object_store = SlowObjectStore(url, self.clock)
        self.transfer = TrialTransfer(self.object_store, self.paths, self.notes.append, self.clock)

    def log(self, *events: Event) -> None:
        with EventWriter(self.paths.events(NUMBER)) as writer:
            for event in events:
                writer.append(event)

    def logged(self) -> list[Event]:
        return read_events(self.paths.events(NUMBER))[0]

    def save(self, content: bytes) -> None:
        """As a checkpoint is: aside, then renamed."""
        path = self.paths.checkpoint(NUMBER)
        aside = path.with_suffix(".tmp")
        aside.write_bytes(content)
        aside.replace(path)

    def saved(self) -> bytes | None:
        path = self.paths.checkpoint(NUMBER)
        return path.read_bytes() if path.exists() else None

    def wait(self) -> None:
        """Until the push under way is over."""
        if self.transfer._thread:
            self.transfer._thread.join()

    def pushed(self) -> bytes | None:
        """The checkpoint in the object store."""
        manifest = self.object_store.newest(NUMBER)
        if manifest is None:
            return None
        target = self.paths.root / "looked"
        self.object_store.fetch(NUMBER, manifest, "checkpoint.pt", target)
        return target.read_bytes()


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "object_store").mkdir()
    return f"file://{tmp_path}/object_store"


@pytest.fixture
def first(tmp_path: Path, url: str) -> Node:
    """In the middle of a trial that it claimed."""
    node = Node(tmp_path / "first", url)
    node.transfer.begin(NUMBER, 1)
    node.log(started(0), epoch(1, 0.5))
    node.save(b"one")
    return node


@pytest.fixture
def second(tmp_path: Path, url: str) -> Node:
    return Node(tmp_path / "second", url)


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


def test_a_trial_is_pushed_while_it_runs_but_seldom(first: Node) -> None:
    clock = first.clock
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() is None
    clock.now_s += EVERY_S
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"one"
    first.save(b"two")
    clock.now_s += EVERY_S - 0.1
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"one"
    clock.now_s += 0.1
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"two"


def test_pushing_takes_a_small_share_of_the_time(first: Node) -> None:
    """A push that lasts 2 s is followed by 38 s without one: 2 of 40 are 5 %."""
    first.object_store.takes_s = 2.0
    first.clock.now_s = EVERY_S
    first.transfer.offer(NUMBER, 1)
    first.wait()
    first.save(b"two")
    first.clock.now_s += 37.9
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"one"
    first.clock.now_s += 0.1
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"two"


def test_nobody_waits_for_a_push_and_what_is_on_its_way_stays_as_it_was(
    first: Node, second: Node
) -> None:
    weights = first.paths.user_checkpoint(NUMBER) / "weights"
    weights.parent.mkdir()
    weights.write_bytes(b"whole")
    first.object_store.answers.clear()
    first.clock.now_s = EVERY_S
    first.transfer.offer(NUMBER, 1)  # returns
    first.save(b"two")
    first.log(epoch(2, 0.6))
    weights.write_bytes(b"to")  # and so on
    first.transfer.offer(NUMBER, 1)
    first.object_store.answers.set()
    first.wait()
    second.transfer.begin(NUMBER, 2)
    assert second.saved() == b"one"
    assert second.logged()[:-1] == [started(0), epoch(1, 0.5)]
    assert (second.paths.user_checkpoint(NUMBER) / "weights").read_bytes() == b"whole"


def test_trouble_is_said_once_and_that_it_is_over(first: Node, tmp_path: Path) -> None:
    object_store = tmp_path / "object_store"
    object_store.rmdir()
    object_store.write_text("no folder")
    for _ in range(2):
        first.clock.now_s += 60
        first.transfer.offer(NUMBER, 1)
        first.wait()
    [said] = first.notes
    assert said.startswith(f"file://{object_store}: the object store cannot be used: ")
    assert said.endswith(
        "Training goes on; should this node vanish, others go on from what was pushed before"
    )
    object_store.unlink()
    object_store.mkdir()
    first.clock.now_s += 29
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() is None
    first.clock.now_s += 1
    first.transfer.offer(NUMBER, 1)
    first.wait()
    assert first.pushed() == b"one"
    assert first.notes[1:] == ["the object store takes trials again"]


def test_a_trial_does_not_begin_where_nobody_knows_how_far_it_is(
    second: Node, tmp_path: Path
) -> None:
    (tmp_path / "object_store").rmdir()
    assert second.transfer.begin(NUMBER, 1), "nobody can have had it before"
    assert not second.transfer.begin(NUMBER, 2)
    assert not second.transfer.begin(NUMBER + 1, 2)
    [said] = second.notes
    assert "the object store cannot be used: FileNotFoundError: " in said
    assert "Trials that others began wait until the object store can be read" in said
    assert NUMBER in second.transfer.postponed()
    (tmp_path / "object_store").mkdir()
    second.clock.now_s += 30
    assert NUMBER not in second.transfer.postponed()
    assert second.transfer.begin(NUMBER, 2)
    assert second.notes[1:] == [
        "trial 0: what others did of it is not in the object store; it begins at epoch 1",
        "the object store can be read again",
    ]


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


def test_what_is_on_its_way_gives_way_to_what_is_newer(first: Node) -> None:
    first.object_store.answers.clear()
    first.clock.now_s = EVERY_S
    first.transfer.offer(NUMBER, 1)
    first.save(b"two")
    threading.Timer(0.1, first.object_store.answers.set).start()
    first.transfer.deliver(NUMBER, 1)
    assert first.pushed() == b"two"
    assert first.object_store.newest(NUMBER).push == 1, "the older one was given up"


def test_the_push_of_an_ended_trial_delays_no_other(first: Node) -> None:
    first.object_store.takes_s = 1000.0
    first.object_store.answers.clear()
    first.clock.now_s = EVERY_S
    first.transfer.offer(NUMBER, 1)
    first.transfer.begin(NUMBER + 1, 1)
    first.object_store.answers.set()
    first.wait()
    assert first.object_store.numbers() == set()
    with EventWriter(first.paths.events(NUMBER + 1)) as log:
        log.append(started(0))
    first.transfer.offer(NUMBER + 1, 1)
    first.wait()
    assert first.object_store.numbers() == {NUMBER + 1}


def test_nothing_of_an_unknown_name_is_put_beside_the_log(first: Node, second: Node) -> None:
    log = first.paths.events(NUMBER)
    with log.open("rb") as events, log.open("rb") as other:
        first.object_store.push(NUMBER, 1, {"events.jsonl": events, "shipped.json": other})
    fetch_trial(second.object_store, second.paths, NUMBER, pytest.fail)
    assert [path.name for path in second.paths.trial_dir(NUMBER).iterdir()] == ["events.jsonl"]
