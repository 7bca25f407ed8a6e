"""A command that is stopped in the middle of an epoch, and the same one on a copy elsewhere."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.slow_trial import BATCHES, CODE, EPOCHS, STUDY, assert_same, n_trained
from tests.support.sweep import Sweep, kill_group, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.gate]

SIGNALS = {
    "sigterm": (signal.SIGTERM,),
    "sigusr1": (signal.SIGUSR1,),
    "ctrl_c": (signal.SIGINT,),
    "twice": (signal.SIGTERM, signal.SIGTERM),
}


@dataclass(frozen=True)
class Story:
    """What became of a command that was stopped in the second epoch of its trial.

    Attributes:
        stopped: Its working directory, moved away.
        exit_code: Its own.
        output: Its own.
        place: Where it ran.
        resumed: The copy, on which the same command was run to its end.
    """

    stopped: Sweep
    exit_code: int
    output: str
    place: Path
    resumed: Sweep


def begin(folder: Path) -> Sweep:
    folder.mkdir()
    sweep = Sweep(folder)
    sweep.write(STUDY)
    sweep.write_code(CODE)
    return sweep


def live_through(folder: Path, signals: Sequence[signal.Signals]) -> Story:
    sweep = begin(folder)
    agent = sweep.start()
    try:
        wait_until(lambda: n_trained(sweep) >= BATCHES + 2)
        output = ""
        for number in signals:
            agent.send_signal(number)
            output += read_until(agent, "once more stops at once")
        output += agent.communicate(timeout=60)[0]
    finally:
        kill_group(agent)
    copy = folder.with_name(f"{folder.name}-copy")
    shutil.copytree(folder, copy)
    stopped = Sweep(folder.rename(folder.with_name(f"{folder.name}-stopped")))
    done = Sweep(copy).run()
    assert done.returncode == 0, done.stderr
    return Story(stopped, agent.returncode, output, folder, Sweep(copy))


def read_until(agent: subprocess.Popen[str], words: str) -> str:
    """What the command says up to these words, or up to its end."""
    assert agent.stdout is not None
    output = ""
    while words not in output and (line := agent.stdout.readline()):
        output += line
    return output


def run_undisturbed(folder: Path) -> Sweep:
    sweep = begin(folder)
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert n_trained(sweep) == EPOCHS * BATCHES
    return sweep


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, dict[str, Story]]:
    """One that nobody stopped, and the others; all at once, as they mostly sleep."""
    folder = tmp_path_factory.mktemp("preemption")
    with ThreadPoolExecutor() as pool:
        undisturbed = pool.submit(run_undisturbed, folder / "undisturbed")
        stories = {
            name: pool.submit(live_through, folder / name, signals)
            for name, signals in SIGNALS.items()
        }
        return undisturbed.result(), {name: story.result() for name, story in stories.items()}


@pytest.fixture
def undisturbed(told: tuple[Sweep, dict[str, Story]]) -> Sweep:
    return told[0]


@pytest.fixture(params=SIGNALS)
def story(request: pytest.FixtureRequest, told: tuple[Sweep, dict[str, Story]]) -> Story:
    return told[1][request.param]


def test_the_trial_waits_and_both_stores_say_so(story: Story) -> None:
    expected = 130 if story.place.name == "ctrl_c" else 4
    assert story.exit_code == expected, story.output
    assert "the same command goes on: sweeper run sweep.yaml" in story.output
    assert story.stopped.states() == {0: "waiting"}
    assert [run.info.status for run in story.stopped.runs()] == ["SCHEDULED"]
    assert [run.info.status for run in story.stopped.runs("study")] == ["SCHEDULED"]
    assert [epoch.epoch for epoch in story.stopped.epochs(0)] == [1]


def test_the_copy_goes_on_in_the_same_run(story: Story) -> None:
    story.resumed.assert_truth(finished=1)
    [before], [after] = story.stopped.runs(), story.resumed.runs()
    assert after.info.run_id == before.info.run_id
    assert after.data.tags["sweeper.resumed"] == "1"


def test_nothing_is_written_where_the_folder_was_before(story: Story) -> None:
    assert not story.place.exists()


def test_the_copy_ends_bit_identically(story: Story, undisturbed: Sweep) -> None:
    assert_same(undisturbed, story.resumed, epochs=EPOCHS)


def test_no_batch_is_done_twice_unless_the_command_had_no_time(story: Story) -> None:
    n_twice = n_trained(story.resumed) - EPOCHS * BATCHES
    if story.place.name == "twice":
        assert n_twice <= BATCHES
    else:
        assert n_twice == 0
