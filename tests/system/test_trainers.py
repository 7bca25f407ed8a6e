"""Trials that Lightning's Trainer and Hugging Face's Trainer train: swept, stopped, killed."""

import os
import re
import signal
import subprocess

import pytest

from sweeper.events import Interrupted
from tests.support.slurm_cluster import Cluster, run
from tests.support.sweep import Sweep, kill_group, wait_until, worker_pids
from tests.support.trainer_studies import EPOCHS, LIGHTNING, N_BATCHES, TRANSFORMERS, Program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("program", [LIGHTNING, TRANSFORMERS], ids=lambda found: found.name),
]


def start_slow(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    """A trial whose epochs take three seconds, in the second of them."""
    monkeypatch.setenv("BATCH_S", "0.2")
    agent = sweep.start()
    try:
        wait_until(lambda: sweep.epochs(0))
    except BaseException:
        kill_group(agent)
        raise
    return agent


def causes(sweep: Sweep) -> list[str]:
    return [event.cause for event in sweep.events(0) if isinstance(event, Interrupted)]


def assert_whole(sweep: Sweep, program: Program, epochs: int = EPOCHS) -> None:
    """One trial in one run, gone on with once, each epoch of it as if nobody had stopped it."""
    sweep.assert_truth(finished=1)
    assert sweep.n_resumed() == 1
    assert len(sweep.epochs(0)) == epochs
    if program is LIGHTNING:
        updates = [metrics.values["updates"] for metrics in sweep.epochs(0)]
        assert updates == [N_BATCHES * epoch for epoch in range(1, epochs + 1)]
    assert not list(sweep.folder.glob("*logs*")), "of Lightning's own"


def test_trials_are_searched_and_pruned(sweep: Sweep, program: Program) -> None:
    program.write(sweep, trials=8, pruner="asha, min_epochs: 1, reduction_factor: 2", workers=2)
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    sweep.assert_truth(finished=8)
    assert {"complete", "pruned"} == set(sweep.states().values())
    shown = sorted(path.name for path in sweep.folder.iterdir() if path.name != "__pycache__")
    assert shown == ["mlruns", "own.py", "rows.csv", "sweep.yaml"]


@pytest.mark.gate
def test_a_trial_stops_in_mid_epoch_and_goes_on_there(
    sweep: Sweep, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write(sweep)
    agent = start_slow(sweep, monkeypatch)
    try:
        agent.send_signal(signal.SIGTERM)
        output, _ = agent.communicate(timeout=60)
    finally:
        kill_group(agent)
    assert agent.returncode == 4, output
    assert sweep.states() == {0: "waiting"}
    [cause] = causes(sweep)
    assert (found := re.search(r"stopped in epoch .*?(\d+)( updates)?$", cause)), cause
    assert N_BATCHES < int(found[1]) < 2 * N_BATCHES

    monkeypatch.setenv("BATCH_S", "0")
    assert sweep.run().returncode == 0
    assert_whole(sweep, program)


def test_a_trial_whose_worker_is_killed_goes_on_from_its_last_epoch(
    sweep: Sweep, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.write(sweep)
    agent = start_slow(sweep, monkeypatch)
    try:
        os.kill(worker_pids(agent)[0], signal.SIGKILL)
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert causes(sweep) == ["its worker died: killed by SIGKILL"]
    assert_whole(sweep, program)


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm")
def test_a_job_of_slurm_that_is_put_back_goes_on_with_the_trial(
    sweep: Sweep, program: Program
) -> None:
    """Slurm tells a job that its time is over by SIGUSR1 to its batch script."""
    program.write(sweep, epochs=20)
    cluster = Cluster(sweep)
    name = cluster.submit("--time", "1h", "--cpus", "1", "--mem", "1500M", BATCH_S="0.2")
    cluster.wait_until(lambda: sweep.paths.trial_numbers() and sweep.epochs(0))
    [job] = cluster.jobs(name, "RUNNING")
    run("scancel", "--signal=USR1", "--batch", job)
    cluster.wait_until(lambda: cluster.jobs(name, "PENDING"))
    assert 0 < len(sweep.epochs(0)) < 20
    assert not sweep.study().agents(), "the agent gave its lease up"
    sweep.write_code(program.text().replace('os.environ.get("BATCH_S", "0")', '"0"'))
    cluster.wait_until(lambda: not cluster.jobs(name))
    assert "stopped in epoch" in causes(sweep)[0]
    assert_whole(sweep, program, epochs=20)
