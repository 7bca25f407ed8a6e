"""Programs of the user's own, swept by real commands: stopped, killed, and gone on with."""

import os
import signal
from pathlib import Path

import pytest

from sweeper.events import Interrupted, Started
from tests.support.sweep import Sweep, kill_group, wait_until, worker_pids

pytestmark = pytest.mark.slow
N_EPOCHS = 60
STUDY = """
name: sweep
objective: {{metric: loss, direction: minimize}}
budget: {{trials: 2}}
sampler: {{name: random}}
pruner: {{name: none}}
train:
  command: python own.py --out ${{trial.checkpoint}} --epochs ${{train.epochs}} --x ${{train.x}}
  epochs: {epochs}
  x: {{low: 0.0, high: 1.0}}
run: {{workers: 2, device: cpu}}
"""
#: Saves each epoch and goes on from it; beside it runs a process that has left its group.
CODE = """
import argparse, json, os, pathlib, subprocess, time

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path)
parser.add_argument("--epochs", type=int)
parser.add_argument("--x", type=float)
options = parser.parse_args()
other = subprocess.Popen(["sleep", "600"], start_new_session=True)
for pid in (os.getpid(), other.pid):
    pathlib.Path(f"pid-{pid}").touch()
saved = options.out / "epoch"
done = int(saved.read_text()) if saved.exists() else 0
for epoch in range(done + 1, options.epochs + 1):
    time.sleep(0.02)
    # First, as one that is killed between the two does the epoch twice.
    print(json.dumps({"epoch": epoch, "loss": options.x / epoch}))
    saved.with_suffix(".tmp").write_text(str(epoch))
    saved.with_suffix(".tmp").replace(saved)
"""


@pytest.fixture
def programs(sweep: Sweep) -> Sweep:
    sweep.write(STUDY.format(epochs=N_EPOCHS))
    sweep.write_code(CODE)
    return sweep


def have_reported(sweep: Sweep) -> bool:
    return all(len(sweep.epochs(number)) >= 2 for number in (0, 1))


def left(sweep: Sweep) -> list[int]:
    """Processes of programs that are there and no zombies."""
    pids = [int(path.name.partition("-")[2]) for path in sweep.folder.glob("pid-*")]
    assert pids
    return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def assert_goal_with_whole_curves(sweep: Sweep) -> None:
    assert sweep.states() == {0: "complete", 1: "complete"}
    sweep.assert_truth(finished=2)
    for number in (0, 1):
        assert [epoch.epoch for epoch in sweep.epochs(number)] == [*range(1, N_EPOCHS + 1)]
    assert not left(sweep)


@pytest.mark.gate
def test_programs_are_stopped_in_an_epoch_and_go_on_in_the_same_run(programs: Sweep) -> None:
    programs.start_and_stop(when=lambda: have_reported(programs))
    assert programs.states() == {0: "waiting", 1: "waiting"}
    assert not left(programs)

    done = programs.run()
    assert done.returncode == 0, done.stderr
    assert_goal_with_whole_curves(programs)
    resumed = [event.resumed for event in programs.events(0) if isinstance(event, Started)]
    assert resumed == [0, 1]


@pytest.mark.gate
def test_nothing_is_left_of_programs_when_all_is_killed(programs: Sweep) -> None:
    agent = programs.start()
    wait_until(lambda: have_reported(programs))
    for pid in [agent.pid, *worker_pids(agent)]:
        os.kill(pid, signal.SIGKILL)
    agent.wait()
    wait_until(lambda: not left(programs))
    assert programs.run().returncode == 0
    assert_goal_with_whole_curves(programs)


def test_a_killed_worker_takes_its_program_along_and_another_goes_on(programs: Sweep) -> None:
    agent = programs.start()
    try:
        wait_until(lambda: have_reported(programs))
        os.kill(worker_pids(agent)[0], signal.SIGKILL)
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert_goal_with_whole_curves(programs)


def test_a_killed_program_is_started_again(programs: Sweep) -> None:
    agent = programs.start()
    try:
        wait_until(lambda: have_reported(programs))
        os.kill(min(left(programs)), signal.SIGKILL)
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert_goal_with_whole_curves(programs)
    causes = [e.cause for n in (0, 1) for e in programs.events(n) if isinstance(e, Interrupted)]
    assert causes == [
        "ProgramError: train.command: python was ended by SIGKILL; it is tried again"
    ]


def test_ten_programs_that_fail_alike_stop_the_study_with_their_words(sweep: Sweep) -> None:
    sweep.write(STUDY.format(epochs=1))
    sweep.write_code("raise ValueError('no such thing')\n")
    done = sweep.run()
    assert done.returncode == 1
    assert "python ended with exit code 1: ValueError: no such thing" in done.stderr
    status = sweep.run("status", "sweep.yaml").stdout
    assert 'File "' in status
    assert "own.py" in status
