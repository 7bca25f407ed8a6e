"""A machine that falls silent in the middle of a trial, and comes back when others have it."""

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.sweep import Sweep, wait_until, worker_pids

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

STUDY = """
name: {name}
objective: {{metric: score, direction: maximize}}
budget: {{trials: 3}}
pruner: {{name: none}}
train: {{function: "own:run", x: {{low: 0.0, high: 1.0}}}}
run: {{workers: 1}}
storage: {storage}
"""
EPOCHS = 30
#: The machine may be stopped anywhere, also while its transaction holds the row of the trial.
CODE = f"""
import os, signal, time
from pathlib import Path
from sqlalchemy import Engine, event

@event.listens_for(Engine, "after_cursor_execute")
def stop_while_writing(connection, cursor, statement, *_):
    if "INSERT INTO trial_intermediate_values" in statement:
        try:
            Path("stop_while_writing").rename("stopped")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)

def run(params, trial):
    for epoch in range(1, {EPOCHS} + 1):
        time.sleep(0.2)
        trial.report(epoch, score=epoch * params["train"]["x"])
"""


def machine(folder: Path, name: str, storage: str) -> Sweep:
    """A folder of its own: with the others it has the database in common and nothing else."""
    folder.mkdir()
    sweep = Sweep(folder, name=name)
    sweep.write(STUDY.format(name=name, storage=storage))
    sweep.write_code(CODE)
    return sweep


@pytest.mark.parametrize("is_writing", [False, True])
def test_a_machine_that_was_silent_stops_and_writes_nothing_more(
    postgres_url: str, tmp_path: Path, is_writing: bool
) -> None:
    name = f"study-{uuid.uuid4().hex}"
    silent = machine(tmp_path / "silent", name, postgres_url)
    other = machine(tmp_path / "other", name, postgres_url)
    agent = silent.start()
    pids = [agent.pid]
    try:
        wait_until(lambda: len(silent.epochs(0)) >= 3)
        pids += worker_pids(agent)
        if is_writing:
            (silent.folder / "stop_while_writing").touch()
            wait_until((silent.folder / "stopped").exists)
        signal_all(pids, signal.SIGSTOP)
        n_before = len(silent.epochs(0))
        done = other.run()
        assert done.returncode == 0, done.stderr
        before = other.study().trials()
        signal_all(pids, signal.SIGCONT)
        output, _ = agent.communicate(timeout=60)
    finally:
        signal_all(pids, signal.SIGKILL)
    assert agent.returncode == 4, output
    assert "others took over its trials; it stops and leaves the rest to them" in output
    assert "Traceback" not in output

    assert 3 <= n_before < EPOCHS
    assert len(silent.epochs(0)) <= n_before + 1
    assert other.study().trials() == before
    assert other.states() == dict.fromkeys(range(3), "complete")
    assert [trial.intermediate_values.keys() for trial in before] == [
        set(range(1, EPOCHS + 1))
    ] * 3
    assert [epoch.epoch for epoch in other.epochs(0)] == list(range(1, EPOCHS + 1))


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
