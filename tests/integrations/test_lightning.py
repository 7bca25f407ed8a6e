"""Real fits of Lightning's Trainer; each takes a second once Lightning is loaded."""

import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sweeper.errors import TrainingError, TrialInterrupted, TrialPruned
from sweeper.training.user_trial import UserTrial
from sweeper.trial import Objective
from tests.support.ended_recorders import Death, Dying, Stopping
from tests.support.recorder import Recorder
from tests.support.text_files import write_sentences
from tests.support.user_trials import user_trial

pytestmark = pytest.mark.slow
N_BATCHES = 6  # of an epoch
EPOCHS = 3


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The user's code, in a working directory of its own with rows."""
    from tests.support import lightning_program

    monkeypatch.chdir(tmp_path)
    write_sentences(tmp_path / "rows.csv", n_rows=N_BATCHES * 32 * 4 // 3)
    return lightning_program


def kept() -> Path:
    """The trial's folder of checkpoints."""
    return trial_of(Recorder()).checkpoint


def trial_of(recorder: Recorder, metric: str = "val_loss") -> UserTrial:
    return user_trial(Path("kept"), recorder, Objective((metric,), ("minimize",)))


def fit(program: ModuleType, recorder: Recorder, *, metric: str = "val_loss", **named: Any) -> Any:
    """The trial's trainer after three epochs, or as many as the arguments say."""
    torch.manual_seed(0)
    model = program.Classifier(0.01)
    data = program.Texts(Path("rows.csv"), 32)
    return program.fit(trial_of(recorder, metric), model, data, **{"max_epochs": EPOCHS, **named})


def told_after(program: ModuleType, recorder: Stopping, n_batches: int) -> Any:
    """A callback with which the process is told to stop while it trains on that batch."""

    class Signal(program.L.Callback):  # type: ignore[name-defined]
        n_seen = 0

        def on_train_batch_end(self, *_: Any) -> None:
            self.n_seen += 1
            recorder.is_told = self.n_seen >= n_batches

    return Signal()


def updates(recorder: Recorder) -> list[float]:
    """Updates done at each report."""
    return [metrics.values["updates"] for metrics in recorder.history]


WHOLE = [float(N_BATCHES * epoch) for epoch in range(1, EPOCHS + 1)]


def test_each_epoch_is_reported_with_all_that_it_measured(program: ModuleType) -> None:
    recorder = Recorder()
    fit(program, recorder)
    assert recorder.heard == [1, 2, 3]
    assert recorder.n_epochs == EPOCHS
    assert updates(recorder) == WHOLE
    for metrics in recorder.history:
        assert set(metrics.values) == {"train_loss", "val_loss", "val_accuracy", "updates", "rate"}
    losses = [metrics.values["train_loss"] for metrics in recorder.history]
    assert losses == sorted(losses, reverse=True)  # of its own epoch, none of the one before
    assert len(set(losses)) == EPOCHS
    assert sorted(os.listdir()) == ["kept", "rows.csv"]
    assert os.listdir(kept()) == ["sweeper.ckpt"]


def test_a_trial_that_is_pruned_ends_there(program: ModuleType) -> None:
    recorder = Recorder(stop_after=2)
    with pytest.raises(TrialPruned):
        fit(program, recorder)
    assert recorder.heard == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "n_batches", "stopped_after"),
    [
        ({}, 2, 2),
        ({}, N_BATCHES + 4, N_BATCHES + 4),
        ({}, N_BATCHES, None),  # the epoch's end comes first, and its report says it too
        ({"accumulate_grad_batches": 2}, 3, 2),  # updates, of two batches each
        ({"val_check_interval": 0.5}, 4, 4),
        ({"val_check_interval": 0.5, "accumulate_grad_batches": 2}, 5, None),
        ({"check_val_every_n_epoch": 3}, N_BATCHES, N_BATCHES),
    ],
)
def test_a_trial_told_to_stop_goes_on_at_the_same_update(
    program: ModuleType, arguments: dict[str, Any], n_batches: int, stopped_after: int | None
) -> None:
    undisturbed = Recorder()
    fit(program, undisturbed, **arguments)
    for path in kept().iterdir():
        path.unlink()

    stopped = Stopping()
    with pytest.raises(TrialInterrupted) as caught:
        fit(program, stopped, callbacks=[told_after(program, stopped, n_batches)], **arguments)
    if stopped_after is not None:
        assert f"after {stopped_after} updates" in str(caught.value)
    resumed = Recorder()
    resumed.history = stopped.history
    fit(program, resumed, **arguments)
    assert updates(resumed) == updates(undisturbed)


def test_what_was_saved_but_not_told_is_told_after_a_restart(program: ModuleType) -> None:
    dying = Dying(epoch=2)
    with pytest.raises(Death):
        fit(program, dying)
    resumed = Recorder()
    resumed.history = dying.history
    fit(program, resumed)
    assert resumed.heard == [1, 2, 3]
    assert updates(resumed) == WHOLE


def test_the_last_epoch_is_told_where_nothing_is_left_to_train(program: ModuleType) -> None:
    dying = Dying(epoch=EPOCHS)
    with pytest.raises(Death):
        fit(program, dying)
    resumed = Recorder()
    resumed.history = dying.history
    fit(program, resumed)
    assert resumed.n_epochs == EPOCHS
    assert updates(resumed) == WHOLE


@pytest.mark.parametrize(
    "arguments",
    [
        {"check_val_every_n_epoch": 2, "max_epochs": 5},
        {"val_check_interval": 0.5},
        {"val_check_interval": 4},
        {"val_check_interval": 4, "check_val_every_n_epoch": None},
        {"max_epochs": None, "max_steps": 15},
        {"max_epochs": None, "max_steps": 15, "val_check_interval": 2},
        {"max_steps": 8, "accumulate_grad_batches": 4, "val_check_interval": 3},
        {"limit_val_batches": 0},
        {"limit_val_batches": 0, "max_epochs": None, "max_steps": 8},
    ],
)
def test_as_many_validations_are_planned_as_there_are(
    program: ModuleType, arguments: dict[str, Any]
) -> None:
    recorder = Recorder()
    metric = "train_loss" if arguments.get("limit_val_batches") == 0 else "val_loss"
    fit(program, recorder, metric=metric, **arguments)
    assert recorder.n_epochs == len(recorder.heard)


def test_an_objective_that_is_not_logged_is_named(program: ModuleType) -> None:
    with pytest.raises(TrainingError, match="measured rate, train_loss, updates, val_accuracy, "):
        fit(program, Recorder(), metric="auc")


def test_a_fit_that_would_begin_anew_is_refused(program: ModuleType) -> None:
    from sweeper.integrations import LightningCallback

    sweep = LightningCallback(trial_of(Recorder()))
    trainer = program.L.Trainer(callbacks=[sweep], **sweep.trainer_arguments)
    with pytest.raises(TrainingError, match="must be given ckpt_path=callback.checkpoint"):
        trainer.fit(program.Classifier(0.01), program.Texts(Path("rows.csv"), 32))


def test_lightning_ends_nothing_by_itself_when_told_to_stop(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it put a job of Slurm back, which its own handler of SIGUSR1 would do."""
    for name, value in (("NTASKS", "1"), ("JOB_ID", "7"), ("PROCID", "0"), ("LOCALID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    heard: list[int] = []

    class Killed(program.L.Callback):  # type: ignore[name-defined]
        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step in (1, 2):
                os.kill(os.getpid(), (signal.SIGTERM, signal.SIGUSR1)[trainer.global_step - 1])

    recorder = Recorder()
    signals = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, lambda found, _: heard.append(found)) for number in signals]
    try:
        fit(program, recorder, callbacks=[Killed()], plugins=[])
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    assert heard == [signal.SIGTERM, signal.SIGUSR1]
    assert recorder.heard == [1, 2, 3]


def test_early_stopping_counts_on_after_a_restart(program: ModuleType) -> None:
    def stopping() -> Any:
        from lightning.pytorch.callbacks import EarlyStopping

        return EarlyStopping("val_accuracy", mode="max", min_delta=1, patience=3)

    stopped = Stopping()
    told = told_after(program, stopped, 2 * N_BATCHES + 2)
    with pytest.raises(TrialInterrupted):
        fit(program, stopped, callbacks=[told, stopping()], max_epochs=9)
    assert stopped.heard == [1, 2]
    resumed = Recorder()
    resumed.history = stopped.history
    fit(program, resumed, callbacks=[stopping()], max_epochs=9)
    assert resumed.heard == [1, 2, 3, 4]


def test_the_best_is_that_of_the_users_own_checkpoints(program: ModuleType) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    trainer = fit(program, Recorder())
    assert trainer.checkpoint_callback.best_model_path == str(kept() / "sweeper.ckpt")
    trainer.test(datamodule=trainer.datamodule, ckpt_path="best", verbose=False)

    (kept() / "sweeper.ckpt").unlink()
    own = ModelCheckpoint("own", monitor="val_accuracy", mode="max")
    trainer = fit(program, Recorder(), callbacks=[own])
    assert trainer.checkpoint_callback is own
    [measured] = trainer.test(datamodule=trainer.datamodule, ckpt_path="best", verbose=False)
    assert measured["val_accuracy"] == own.best_model_score


def test_a_trial_that_begins_with_anothers_weights_has_a_curve_of_its_own(
    program: ModuleType,
) -> None:
    from sweeper.integrations import LightningCallback

    fit(program, Recorder(), max_epochs=2)
    os.rename(kept() / "sweeper.ckpt", "weights.ckpt")
    recorder = Recorder()
    sweep = LightningCallback(trial_of(recorder))
    trainer = program.L.Trainer(max_epochs=3, callbacks=[sweep], **sweep.trainer_arguments)
    trainer.fit(
        program.Classifier(0.01),
        program.Texts(Path("rows.csv"), 32),
        ckpt_path=sweep.checkpoint or "weights.ckpt",
    )
    assert recorder.heard == [1]


def test_processes_of_the_trainers_own_are_refused(program: ModuleType) -> None:
    with pytest.raises(Exception, match="train on one device, or start the script by"):
        fit(program, Recorder(), strategy="ddp_fork", devices=2)


def test_a_trainer_of_the_other_package_is_told_apart(program: ModuleType) -> None:
    import pytorch_lightning
    from pytorch_lightning.demos.boring_classes import BoringModel

    from sweeper.integrations import LightningCallback

    sweep = LightningCallback(trial_of(Recorder()))
    trainer = pytorch_lightning.Trainer(callbacks=[sweep], logger=False)
    with pytest.raises(TrainingError, match="one of lightning.pytorch, the Trainer is one of py"):
        trainer.fit(BoringModel(), ckpt_path=sweep.checkpoint)
