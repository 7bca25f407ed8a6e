"""Programs of strangers (tests/programs), swept as they are: pruned, stopped, gone on with."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.events import Started
from tests.support.processes import processes_in
from tests.support.sweep import Sweep

pytestmark = pytest.mark.slow
PROGRAMS = Path(__file__).parents[1] / "programs"
N_EPOCHS = 4
#: The second trial learns next to nothing, so it is pruned.
STUDY = """
objective: {{metric: {metric}, direction: {direction}}}
budget: {{trials: 2}}
sampler: {{name: random}}
pruner: {{name: median, startup_trials: 1, min_epochs: 2}}
train:
  command: >
    {command}
    {options}
  {reads}
  epochs: {n_epochs}
  lr: {{low: 1e-6, high: 1.0, log: true}}
enqueue: [{{train.lr: {good}}}, {{train.lr: 1e-6}}]
run: {{workers: 1, device: cpu}}
"""


@dataclass(frozen=True)
class Stranger:
    """How the study file of somebody who has that program looks.

    Attributes:
        command: The program.
        options: What is set of it, in its own words.
        reads: Further keys of ``train``.
        objective: Metric and direction.
        good: A learning rate that learns.
        goes_on: Whether it can go on where it was stopped.
    """

    command: str
    options: str
    reads: str
    objective: tuple[str, str]
    good: float
    goes_on: bool = False

    def study(self) -> str:
        metric, direction = self.objective
        return STUDY.format(
            metric=metric,
            direction=direction,
            command=self.command,
            options=self.options,
            reads=self.reads,
            n_epochs=N_EPOCHS,
            good=self.good,
        )


STRANGERS = {
    "words": Stranger(
        command=f"python {PROGRAMS}/words.py",
        options="--lr ${train.lr} --epochs ${train.epochs} --seed ${trial.seed} --delay 0.01",
        reads=r"report: {epoch: 'Epoch (\d+)/', loss: 'loss=(\S+)', accuracy: 'acc=(\S+)'}",
        objective=("loss", "minimize"),
        good=0.05,
    ),
    "resumable": Stranger(
        command=f"python {PROGRAMS}/resumable.py --out ${{trial.checkpoint}}",
        options="--learning_rate ${train.lr} --num_epochs ${train.epochs} --delay 0.02",
        reads="resume: --resume ${trial.checkpoint}/last.pt",
        objective=("val_loss", "minimize"),
        good=0.01,
        goes_on=True,
    ),
    "tracked": Stranger(
        command=f"python {PROGRAMS}/tracked.py --experiment sweep -l ${{train.lr}}",
        options="--max-epochs ${train.epochs} --seed ${trial.seed} --delay 0.02",
        reads=r"""mlflow: trial
  report: {epoch: '^\[ *(\d+)\]', accuracy: 'test accuracy ([\d.]+)%'}""",
        objective=("accuracy", "maximize"),
        good=0.01,
    ),
    "ddp": Stranger(
        command=f"torchrun --nproc-per-node 2 {PROGRAMS}/ddp.py",
        options="--lr ${train.lr} --epochs ${train.epochs} --seed ${trial.seed} --delay 0.02",
        reads=r"report: {epoch: 'epoch: (\d+)', loss: 'loss: (\S+)', val_acc: 'val_acc: (\S+)'}",
        objective=("val_acc", "maximize"),
        good=0.1,
    ),
}


def alone(folder: Path) -> list[float]:
    """What resumable.py measures of the first trial, started by hand and never stopped."""
    words = ["--learning_rate", "0.01", "--num_epochs", str(N_EPOCHS), "--out", str(folder)]
    command = [sys.executable, str(PROGRAMS / "resumable.py"), *words]
    printed = subprocess.check_output(command, text=True).splitlines()
    return [json.loads(line)["val_loss"] for line in printed if line.startswith("{")]


def output_of(sweep: Sweep) -> str:
    """All that workers and their programs have printed."""
    return "".join(path.read_text() for path in sweep.paths.study_dir.glob("workers/*.log"))


@pytest.mark.parametrize(
    "name", [pytest.param("words", marks=pytest.mark.gate), "resumable", "tracked", "ddp"]
)
def test_a_program_is_pruned_and_stopped_in_an_epoch_and_comes_to_its_end(
    sweep: Sweep, name: str
) -> None:
    stranger = STRANGERS[name]
    sweep.write(stranger.study())
    sweep.start_and_stop(when=lambda: sweep.epochs(0))
    assert sweep.states()[0] == "waiting"
    assert 0 < len(sweep.epochs(0)) < N_EPOCHS
    assert processes_in(sweep.folder) == {}

    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert sweep.states() == {0: "complete", 1: "pruned"}
    sweep.assert_truth(finished=2)
    assert len(sweep.epochs(0)) == N_EPOCHS
    assert [event.resumed for event in sweep.events(0) if isinstance(event, Started)] == [0, 1]
    assert ("begins again at epoch 1" in done.stderr) is not stranger.goes_on
    assert ("resuming from" in output_of(sweep)) is stranger.goes_on
    assert processes_in(sweep.folder) == {}
    if name == "tracked":
        assert_its_own_calls_are_in_the_same_runs(sweep)
    if stranger.goes_on:
        measured = [epoch.values["val_loss"] for epoch in sweep.epochs(0)]
        assert measured == alone(sweep.folder / "alone")


def assert_its_own_calls_are_in_the_same_runs(sweep: Sweep) -> None:
    """What tracked.py tells MLflow stands beside what was read of its output."""
    client, [trial, pruned], [parent] = sweep.client(), sweep.runs(), sweep.runs("study")
    found = client.search_runs([trial.info.experiment_id])
    assert {run.info.run_id for run in found} == {
        run.info.run_id for run in (trial, pruned, parent)
    }
    points = client.get_metric_history(trial.info.run_id, "test_loss")
    assert {point.step for point in points} == set(range(N_EPOCHS))
    assert trial.data.params["max_epochs"] == str(N_EPOCHS)
    assert trial.data.tags["framework"] == "torch"
    assert "weights.pt" in {file.path for file in client.list_artifacts(trial.info.run_id)}
    assert "test_loss" in pruned.data.metrics
