"""Kills, signals and time limits: the same command goes on, both stores tell the truth."""

import os
import signal

import pytest

from sweeper.events import Interrupted, Started
from sweeper.training.checkpoint import load_checkpoint
from sweeper.trial import EpochMetrics
from tests.support.sweep import Sweep, kill_group, wait_until, worker_pids

pytestmark = pytest.mark.slow
LONG = 150  # epochs of a trial that is still running when it is stopped


def write_long(sweep: Sweep, *, trials: int = 2, budget: str = "") -> None:
    sweep.write_default(trials=trials, epochs=LONG, workers=2)
    text = sweep.file.read_text().replace(
        "name: asha, min_epochs: 1, reduction_factor: 3", "name: none"
    )
    text = text.replace(f"{{trials: {trials}}}", f"{{trials: {trials}{budget}}}")
    sweep.write(text)


def has_reported(sweep: Sweep, number: int, n_epochs: int = 2) -> bool:
    return sum(isinstance(event, EpochMetrics) for event in sweep.events(number)) >= n_epochs


def assert_goal_exactly(sweep: Sweep, trials: int) -> None:
    """The goal reached with whole curves, each point once, and nothing left running."""
    assert sweep.states() == dict.fromkeys(range(trials), "complete")
    assert [run.info.status for run in sweep.runs()] == ["FINISHED"] * trials
    client = sweep.client()
    for run in sweep.runs():
        curve = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert [metric.step for metric in curve] == list(range(1, LONG + 1))
    assert [run.info.status for run in sweep.runs("study")] == ["FINISHED"]


def test_ctrl_c_drains_and_the_same_command_goes_on(sweep: Sweep) -> None:
    write_long(sweep)
    agent = sweep.start()
    try:
        wait_until(lambda: has_reported(sweep, 0) and has_reported(sweep, 1))
        agent.send_signal(signal.SIGINT)
        output, _ = agent.communicate(timeout=60)
    finally:
        kill_group(agent)
    assert agent.returncode == 130
    assert (
        "stopping: running trials finish their batch and wait for the next command; "
        "once more stops at once" in output
    )
    assert "the same command goes on: sweeper run sweep.yaml" in output
    assert sweep.states() == {0: "waiting", 1: "waiting"}
    assert sweep.run("sync", "sweep.yaml").returncode == 0  # a slow machine has not sent all yet
    assert [run.info.status for run in sweep.runs()] == ["SCHEDULED", "SCHEDULED"]
    assert [run.info.status for run in sweep.runs("study")] == ["SCHEDULED"]

    assert sweep.run().returncode == 0
    assert_goal_exactly(sweep, 2)
    resumed = [event.resumed for event in sweep.events(0) if isinstance(event, Started)]
    assert resumed == [0, 1]
    assert all(run.data.tags["sweeper.resumed"] == "1" for run in sweep.runs())


def test_a_second_ctrl_c_stops_at_once_and_leaves_the_truth(sweep: Sweep) -> None:
    write_long(sweep)
    agent = sweep.start()
    try:
        wait_until(lambda: has_reported(sweep, 0))
        for pid in worker_pids(agent):
            os.kill(pid, signal.SIGSTOP)  # a worker that does not come to its next epoch
        agent.send_signal(signal.SIGINT)
        assert agent.stdout is not None
        wait_until(lambda: "stopping" in agent.stdout.readline())
        agent.send_signal(signal.SIGINT)
        agent.wait(timeout=60)
    finally:
        kill_group(agent)
    assert agent.returncode == 130
    assert set(sweep.states().values()) == {"waiting"}
    assert sweep.run("sync", "sweep.yaml").returncode == 0
    assert {run.info.status for run in sweep.runs()} <= {"SCHEDULED"}
    assert sweep.run().returncode == 0
    assert_goal_exactly(sweep, 2)


@pytest.mark.gate
def test_a_killed_worker_is_replaced_and_its_trial_goes_on(sweep: Sweep) -> None:
    write_long(sweep)
    agent = sweep.start()
    try:
        wait_until(lambda: has_reported(sweep, 0) and has_reported(sweep, 1))
        os.kill(worker_pids(agent)[0], signal.SIGKILL)
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert "a worker died: killed by SIGKILL; its trial is given back" in output
    assert_goal_exactly(sweep, 2)
    causes = [e.cause for n in (0, 1) for e in sweep.events(n) if isinstance(e, Interrupted)]
    assert causes == ["its worker died: killed by SIGKILL"]


@pytest.mark.gate
def test_a_worker_with_two_lanes_is_killed_then_stopped_and_both_go_on(sweep: Sweep) -> None:
    write_long(sweep)
    sweep.write(sweep.file.read_text().replace("{workers: 2}", "{workers: 1, lanes: 2}"))
    agent = sweep.start()
    try:
        wait_until(lambda: has_reported(sweep, 0) and has_reported(sweep, 1))
        os.kill(worker_pids(agent)[0], signal.SIGKILL)
        wait_until(lambda: sweep.n_resumed() == 2)
        agent.send_signal(signal.SIGINT)
        output, _ = agent.communicate(timeout=60)
    finally:
        kill_group(agent)
    assert agent.returncode == 130
    assert "a worker died: killed by SIGKILL; its 2 trials are given back" in output
    assert sweep.states() == {0: "waiting", 1: "waiting"}
    causes = [e.cause for n in (0, 1) for e in sweep.events(n) if isinstance(e, Interrupted)]
    assert causes[::2] == ["its worker died: killed by SIGKILL"] * 2
    stopped = ("stopped in epoch", "stopped after epoch")  # one of them may have been at its end
    assert all(cause.startswith(stopped) for cause in causes[1::2])
    assert sweep.run().returncode == 0
    assert_goal_exactly(sweep, 2)


#: An epoch is 405 batches of training and 45 of evaluation, seconds of eight trials at once.
PACKED = """
budget: {trials: 8}
pruner: {name: none}
data: {name: digits, batch_size: 4}
model: {architecture: mlp, depth: 1, width: 16, dropout: {low: 0.1, high: 0.5}}
train: {epochs: 3, learning_rate: {low: 1e-4, high: 1e-2, log: true}}
run: {workers: 1, pack: 8}
"""


def test_a_stop_puts_eight_trials_of_a_pack_back_in_mid_epoch(sweep: Sweep) -> None:
    sweep.write(PACKED)
    output = sweep.start_and_stop(when=lambda: all(sweep.epochs(number) for number in range(8)))
    assert "a worker" not in output  # of one that had to be killed
    assert sweep.states() == dict.fromkeys(range(8), "waiting")
    n_done = []
    for number in range(8):
        last = sweep.events(number)[-1]
        assert isinstance(last, Interrupted)
        assert last.cause.startswith("stopped in epoch")
        assert last.tags["packed"] == "8"
        saved = load_checkpoint(sweep.paths.checkpoint(number))
        assert saved is not None
        assert len(saved["history"]) == len(sweep.epochs(number)) < 3
        n_done.append(saved["totals"]["n_batches"])
    # Each ends with its batch, so of those that are computed at once some have one more.
    assert 0 < min(n_done) <= max(n_done) <= min(n_done) + 1
    assert sweep.run().returncode == 0
    sweep.assert_truth(finished=8)
    assert all(len(sweep.epochs(number)) == 3 for number in range(8))
    assert [run.data.tags["sweeper.packed"] for run in sweep.runs()] == ["8"] * 8


@pytest.mark.gate
def test_workers_of_a_killed_agent_end_by_themselves_and_the_study_goes_on(sweep: Sweep) -> None:
    write_long(sweep)
    agent = sweep.start()
    wait_until(lambda: has_reported(sweep, 0) and has_reported(sweep, 1))
    pids = worker_pids(agent)
    agent.kill()
    agent.wait()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert sweep.states() == {0: "waiting", 1: "waiting"}
    assert sweep.run().returncode == 0
    assert_goal_exactly(sweep, 2)


@pytest.mark.gate
def test_everything_killed_at_once_and_the_study_goes_on(sweep: Sweep) -> None:
    write_long(sweep)
    agent = sweep.start()
    wait_until(lambda: has_reported(sweep, 0) and has_reported(sweep, 1))
    for pid in [agent.pid, *worker_pids(agent)]:
        os.kill(pid, signal.SIGKILL)
    agent.wait()
    assert set(sweep.states().values()) == {"running"}
    assert sweep.run().returncode == 0
    assert_goal_exactly(sweep, 2)


def test_time_is_over_before_the_goal(sweep: Sweep) -> None:
    write_long(sweep, trials=200, budget=", timeout: 12s")
    done = sweep.run()
    assert done.returncode == 4
    assert (
        "budget.timeout is over: running trials finish their batch and wait for the next command"
        in done.stderr
    )
    assert "running" not in sweep.states().values()
    assert {run.info.status for run in sweep.runs()} <= {"FINISHED", "SCHEDULED"}


def test_two_agents_share_one_study(sweep: Sweep) -> None:
    sweep.write_default(trials=9, epochs=3, workers=1)
    agents = [sweep.start(), sweep.start()]
    try:
        outputs = [agent.communicate(timeout=240)[0] for agent in agents]
    finally:
        for agent in agents:
            kill_group(agent)
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert len(sweep.states()) == 9
    assert set(sweep.states().values()) <= {"complete", "pruned"}
    assert len(sweep.runs()) == 9
    assert len(sweep.runs("study")) == 1
