"""The doctor at a study whose command is alive, was killed, and went on."""

import os
import signal

import pytest

from tests.support.sweep import Sweep, kill_group, wait_until, worker_pids

pytestmark = pytest.mark.slow


def test_a_killed_command_is_cleared_up_after(sweep: Sweep) -> None:
    sweep.write_default(trials=2, epochs=500, workers=1)
    agent = sweep.start()
    wait_until(lambda: sweep.paths.events(0).exists() and len(sweep.events(0)) > 3)
    alive = sweep.run("doctor", "sweep.yaml")
    assert (alive.returncode, len(alive.stdout.splitlines())) == (0, 1), alive.stdout
    assert "healthy as far as can be told while a command works on it" in alive.stdout
    agent.send_signal(signal.SIGSTOP)  # so that it does not take their trials back
    for pid in worker_pids(agent):
        os.kill(pid, signal.SIGKILL)
    kill_group(agent)

    found = sweep.run("doctor", "sweep.yaml")
    assert found.returncode == 1
    assert "trial 0: RUNNING in the storage, but its worker is gone; --fix puts" in found.stdout
    assert sweep.states()[0] == "running"
    mended = sweep.run("doctor", "sweep.yaml", "--fix")
    assert mended.returncode == 0, mended.stdout
    assert "mended: trial 0: " in mended.stdout
    assert sweep.states()[0] == "waiting"
    assert sweep.runs()[0].info.status == "SCHEDULED"
    assert_healthy(sweep)

    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert_healthy(sweep)
    again = sweep.run("sync", "sweep.yaml")
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing was left behind" in again.stdout


def assert_healthy(sweep: Sweep) -> None:
    done = sweep.run("doctor", "sweep.yaml")
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("sweep: healthy: ")
    assert done.stderr == ""
