"""A process is killed before and after every durable step; the same command recovers."""

from collections import Counter
from pathlib import Path

import pytest
from sweep import Sweep

from sweeper.durable import CRASH_VARIABLE, Step
from sweeper.events import EpochMetrics

pytestmark = pytest.mark.slow
TRIALS, EPOCHS = 2, 3
#: Of another command, see test_slurm_jobs.py.
ELSEWHERE = (Step.SUBMIT, Step.SUBMITTED)
#: Points that are only reached once something else went wrong.
FIRST: dict[Step, tuple[str, ...]] = {Step.PUT_BACK: ("report.after", "checkpoint.before")}


def arm(folder: Path, step: Step) -> None:
    folder.mkdir()
    for point in (f"{step}.before", f"{step}.after", *FIRST.get(step, ())):
        (folder / point).touch()


def run_until_whole(sweep: Sweep, armed: Path) -> list[int]:
    """Give the same command as often as it was killed itself; its exit codes."""
    codes = []
    while not codes or codes[-1] != 0:
        done = sweep.run(**{CRASH_VARIABLE: str(armed)})
        codes.append(done.returncode)
        assert done.returncode in (0, -9), done.stderr
        assert len(codes) <= 1 + 2 + len(FIRST)
    return codes


def assert_whole(sweep: Sweep) -> None:
    assert sweep.states() == dict.fromkeys(range(TRIALS), "complete")
    assert [run.info.status for run in sweep.runs("study")] == ["FINISHED"]
    runs = sweep.runs()
    assert [run.info.status for run in runs] == ["FINISHED"] * TRIALS
    client = sweep.client()
    best = sweep.result().trials()["val_accuracy"]
    for number, run in enumerate(runs):
        logged = Counter(e.epoch for e in sweep.events(number) if isinstance(e, EpochMetrics))
        assert logged == dict.fromkeys(range(1, EPOCHS + 1), 1)
        for name in ("train_loss", "val_accuracy", "epoch_seconds"):
            history = client.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))
        assert run.data.metrics["best_val_accuracy"] == best[number]
        assert run.data.tags["sweeper.state"] == "complete"
        assert int(run.data.params["model.width"]) in (16, 64)
        [model] = client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        assert model.status == "READY"
    assert not list(sweep.paths.trials_dir.glob("*/checkpoint*"))


@pytest.mark.parametrize("step", [step for step in Step if step not in ELSEWHERE])
def test_a_kill_on_either_side_of_a_step_is_recovered_from(sweep: Sweep, step: Step) -> None:
    sweep.write_default(trials=TRIALS, epochs=EPOCHS)
    text = sweep.file.read_text()
    sweep.write(text.replace("name: asha, min_epochs: 1, reduction_factor: 3", "name: none"))
    armed = sweep.folder / "armed"
    arm(armed, step)
    codes = run_until_whole(sweep, armed)
    assert not list(armed.iterdir()), f"never reached; exit codes {codes}"
    assert_whole(sweep)
