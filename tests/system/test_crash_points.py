"""A process is killed before and after every durable step; the same command recovers."""

import shutil
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from sweeper.durable import CRASH_VARIABLE, Step
from sweeper.events import FileLogged, Started
from sweeper.trial import EpochMetrics
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep import PATIENCE_S, Sweep, kill_group, wait_until

pytestmark = pytest.mark.slow
TRIALS, EPOCHS = 2, 3
#: Of another command, see test_slurm_jobs.py; or of user code, see below.
ELSEWHERE = (Step.SUBMIT, Step.SUBMITTED, Step.LOGGED_FILE)
#: Points that are only reached once something else went wrong.
FIRST: dict[Step, tuple[str, ...]] = {Step.PUT_BACK: ("report.after", "checkpoint.before")}

#: Points that are only reached where nodes have no common folder.
IN_OBJECT_STORES = (
    Step.OBJECT_STORE_CONTENT,
    Step.OBJECT_STORE_MANIFEST,
    Step.OBJECT_STORE_FETCH,
    Step.OBJECT_STORE_RENAME,
)
HERE = [step for step in Step if step not in (*ELSEWHERE, *IN_OBJECT_STORES)]
#: One of each kind; what a mirror does is also killed in tests/tracking, for a tenth of the time.
IN_GATE = (Step.CLAIM, Step.CHECKPOINT, Step.MIRROR_SEND, Step.OBJECT_STORE_MANIFEST)
#: An epoch takes seven batches of 0.2 s.
MOVING = """
objective: {{metric: val_accuracy, direction: maximize}}
budget: {{trials: {trials}}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 256}}
model: {{architecture: "own:build", width: {{choices: [16]}}}}
train: {{epochs: {epochs}, learning_rate: {{low: 0.01, high: 0.1}}}}
run: {{workers: 1, {pack}object_store: "file://{folder}/object_store"}}
storage: sqlite:///{folder}/study.db
tracking: {{uri: "sqlite:///{folder}/mlflow.db"}}
"""
MOVING_CODE = """
import time
from torch import nn


class Slow(nn.Sequential):
    def forward(self, inputs):
        if self.training:
            time.sleep(0.2)
        return super().forward(inputs)


def build(input_shape, n_outputs, width):
    return Slow(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""

PACKED = f"""
objective: {{metric: val_accuracy, direction: maximize}}
budget: {{trials: {TRIALS + 1}}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 256}}
model: {{architecture: "own:build", width: {{choices: [16]}}}}
train: {{epochs: {EPOCHS}, learning_rate: {{low: 0.01, high: 0.1}}}}
run: {{workers: 1, pack: 2}}
"""
#: The first time that a process computes two trials at once, it arms the next points.
PACKED_CODE = """
import os
import torch
from torch import nn
from sweeper.workers import runner

runner._SAVE_EVERY_S = {save_every_s}
rounds = ["start", "first", "second"]


class Seen(torch.autograd.Function):
    @staticmethod
    def forward(inputs):
        return inputs.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient

    @staticmethod
    def vmap(info, in_dims, inputs):
        if info.batch_size == 2 and inputs.dtype == torch.float32:  # float64 is of a check
            arm_next()
        return inputs.clone(), in_dims[0]


def arm_next():
    for name in rounds:
        if os.path.isdir(name) and os.listdir(name):
            for point in os.listdir(name):
                os.rename(os.path.join(name, point), os.path.join("armed", point))
            break
    rounds.clear()


class Net(nn.Sequential):
    def forward(self, inputs):
        return super().forward(Seen.apply(inputs) if self.training else inputs)


def build(input_shape, n_outputs, width):
    return Net(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""

#: Tells again what stands in its checkpoint, as it may have been killed before it could.
LOGGING = """
objective: {metric: score, direction: maximize}
budget: {trials: 2}
pruner: {name: none}
train: {function: "own:run", epochs: 3, x: {low: 0.0, high: 1.0}}
run: {workers: 1}
"""
LOGGING_CODE = """
import torch

def run(params, trial):
    saved, notes = trial.checkpoint / "done", trial.checkpoint / "notes.txt"
    done = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(1, params["train"]["epochs"] + 1):
        if epoch > done:
            notes.write_text(f"epoch {epoch}")
            trial.log_artifact(notes, "texts")
            trial.tags["epoch"] = epoch
            saved.write_text(str(epoch))
        trial.report(epoch, score=params["train"]["x"])
    return torch.nn.Linear(4, 1), torch.ones(1, 4)
"""


def arm(folder: Path, step: Step) -> None:
    folder.mkdir()
    for point in (f"{step}.before", f"{step}.after", *FIRST.get(step, ())):
        (folder / point).touch()


def run_until_whole(sweep: Sweep, armed: Path) -> list[int]:
    """Give the same command as often as it was killed itself; its exit codes."""
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        done = sweep.run(**{CRASH_VARIABLE: str(armed)})
        codes.append(done.returncode)
        assert done.returncode in (0, -9), done.stderr
        assert len(codes) <= 1 + 2 + len(FIRST)
    return codes


def assert_whole(sweep: Sweep, *, trials: int = TRIALS) -> None:
    assert sweep.states() == dict.fromkeys(range(trials), "complete")
    assert [run.info.status for run in sweep.runs("study")] == ["FINISHED"]
    runs = sweep.runs()
    assert [run.info.status for run in runs] == ["FINISHED"] * trials
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


#: What a worker does for a trial while it has others.
IN_LANES = (
    Step.DRAW,
    Step.EVENT,
    Step.CHECKPOINT,
    Step.CHECKPOINT_RENAME,
    Step.REPORT,
    Step.PUT_BACK,
    Step.END,
)
#: What it does for a trial that is computed with another.
IN_PACKS = (
    Step.EVENT,
    Step.CHECKPOINT,
    Step.CHECKPOINT_RENAME,
    Step.REPORT,
    Step.PUT_BACK,
    Step.END,
)


def marked(steps: Iterable[Step]) -> list[ParameterSet]:
    return [pytest.param(s, marks=[pytest.mark.gate] * (s in IN_GATE)) for s in steps]


@pytest.mark.parametrize(
    "step", marked(s for s in Step if s not in (*ELSEWHERE, *IN_OBJECT_STORES))
)
def test_a_kill_on_either_side_of_a_step_is_recovered_from(sweep: Sweep, step: Step) -> None:
    sweep.write_default(trials=TRIALS, epochs=EPOCHS)
    text = sweep.file.read_text()
    sweep.write(text.replace("name: asha, min_epochs: 1, reduction_factor: 3", "name: none"))
    armed = sweep.folder / "armed"
    arm(armed, step)
    codes = run_until_whole(sweep, armed)
    assert not list(armed.iterdir()), f"never reached; exit codes {codes}"
    assert_whole(sweep)


@pytest.mark.parametrize("step", marked(IN_LANES))
def test_a_kill_of_a_worker_with_several_trials_is_recovered_from(
    sweep: Sweep, step: Step
) -> None:
    sweep.write_default(trials=TRIALS, epochs=EPOCHS)
    text = sweep.file.read_text()
    text = text.replace("name: asha, min_epochs: 1, reduction_factor: 3", "name: none")
    sweep.write(text.replace("workers: 1", "workers: 1, lanes: 2"))
    armed = sweep.folder / "armed"
    arm(armed, step)
    codes = run_until_whole(sweep, armed)
    assert not list(armed.iterdir()), f"never reached; exit codes {codes}"
    assert_whole(sweep)
    # Trial 0 comes to the step first, and its worker dies with trial 1.
    assert max(event.resumed for event in sweep.events(1) if isinstance(event, Started)) >= 1


@pytest.mark.parametrize("step", marked(IN_PACKS))
def test_a_kill_of_a_worker_with_a_pack_at_two_epochs_is_recovered_from(
    sweep: Sweep, step: Step
) -> None:
    # Trial 0 is saved first.
    kill_in_pack(sweep, step, save_every_s=0.0, uneven="checkpoint-rename.after")


def test_so_is_one_where_epochs_were_reported_after_the_checkpoint(sweep: Sweep) -> None:
    kill_in_pack(sweep, Step.REPORT, save_every_s=60.0, uneven="report.after")


def kill_in_pack(sweep: Sweep, step: Step, *, save_every_s: float, uneven: str) -> None:
    """Kill a worker at a point of its first epoch, then on both sides of a step in later ones."""
    sweep.write(PACKED)
    sweep.write_code(PACKED_CODE.replace("{save_every_s}", str(save_every_s)))
    names = ("armed", "start", "first", "second")
    armed, start, first, second = folders = [sweep.folder / name for name in names]
    for folder in folders:
        folder.mkdir()
    for point in (uneven, "put-back.before"):  # nobody lives to put them back
        (start / point).touch()
    assert sweep.run(**{CRASH_VARIABLE: str(armed)}).returncode == -signal.SIGKILL
    saved = [sweep.paths.checkpoint(number).exists() for number in range(2)]
    reported = [len(sweep.epochs(number)) for number in range(2)]
    assert (saved, reported) in (([True, False], [0, 0]), ([False, False], [1, 1]))

    before, after = FIRST.get(step, (f"{step}.before", f"{step}.after"))
    for folder, points in (
        (first, (before, f"{step}.before")),
        (second, (after, f"{step}.after")),
    ):
        for point in points:
            (folder / point).touch()
    codes = run_until_whole(sweep, armed)
    assert [point for folder in folders for point in folder.iterdir()] == [], codes
    assert_whole(sweep, trials=TRIALS + 1)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(Step.LOGGED_FILE, marks=pytest.mark.gate),
        Step.EVENT,
        Step.MIRROR_SEND,
        Step.MIRROR_CURSOR,
        Step.MODEL_LOG,
    ],
)
def test_a_kill_while_user_code_logs_is_recovered_from(sweep: Sweep, step: Step) -> None:
    sweep.write_code(LOGGING_CODE)
    sweep.write(LOGGING)
    armed = sweep.folder / "armed"
    arm(armed, step)
    codes = run_until_whole(sweep, armed)
    assert not list(armed.iterdir()), f"never reached; exit codes {codes}"
    assert sweep.states() == {0: "complete", 1: "complete"}
    client = sweep.client()
    for number, run in enumerate(sweep.runs()):
        files = [e.sha256 for e in sweep.events(number) if isinstance(e, FileLogged)]
        assert len(files) == len(set(files)) == 3
        assert run.info.status == "FINISHED"
        assert run.data.tags["epoch"] == "3"
        path = client.download_artifacts(run.info.run_id, "texts/notes.txt")
        assert Path(path).read_text() == "epoch 3"
        curve = client.get_metric_history(run.info.run_id, "score")
        assert [point.step for point in curve] == [1, 2, 3]
    models = client.search_logged_models([sweep.runs()[0].info.experiment_id])
    assert [model.status for model in models] == ["READY", "READY"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", marked(IN_OBJECT_STORES))
def test_a_kill_while_a_trial_moves_between_nodes_is_recovered_from(
    step: Step, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_while_moving(f"{step}.{moment}", "", tmp_path, monkeypatch)


@pytest.mark.parametrize("step", IN_OBJECT_STORES)
def test_a_kill_while_a_pack_moves_between_nodes_is_recovered_from(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_while_moving(f"{step}.before", "pack: 2, ", tmp_path, monkeypatch)


def kill_while_moving(
    point: str, pack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node is told to stop, and thrown away then; another one goes on."""
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / point).touch()
    (tmp_path / "object_store").mkdir()
    # MLflow does not get over it that the first node is stopped while it makes one.
    copy_empty_database(tmp_path / "mlflow.db")
    nodes = [Sweep(tmp_path / name, uri=f"sqlite:///{tmp_path}/mlflow.db") for name in "ab"]
    for node in nodes:
        node.folder.mkdir()
        node.write_code(MOVING_CODE)
        node.write(MOVING.format(trials=TRIALS, epochs=EPOCHS, folder=tmp_path, pack=pack))
    with monkeypatch.context() as patch:
        patch.setenv(CRASH_VARIABLE, str(armed))
        agent = nodes[0].start()
    try:
        wait_until(lambda: nodes[0].epochs(0))
        agent.send_signal(signal.SIGTERM)
        output = agent.communicate(timeout=PATIENCE_S)[0]
    finally:
        kill_group(agent)
    assert agent.returncode == 4, output
    shutil.rmtree(nodes[0].folder)
    codes = run_until_whole(nodes[1], armed)
    assert not list(armed.iterdir()), f"never reached; exit codes {codes}"
    assert_whole(nodes[1])
    if pack:
        assert [run.data.tags["sweeper.packed"] for run in nodes[1].runs()] == ["2", "2"]
    assert not [path for path in (tmp_path / "object_store").rglob("*") if path.is_file()]
