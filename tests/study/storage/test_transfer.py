import threading
from pathlib import Path

from sweeper.events import EventWriter
from sweeper.study.storage.transfer import EVERY_S
from tests.support.sweep_studies import epoch
from tests.support.transfer_nodes import NUMBER, Node, started


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
