"""Real trainings of Hugging Face's Trainer; each takes a second once transformers is loaded."""

import json
import os
import shutil
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
    from tests.support import transformers_program

    monkeypatch.chdir(tmp_path)
    write_sentences(tmp_path / "rows.csv", n_rows=N_BATCHES * 16 * 4 // 3)
    return transformers_program


def kept() -> Path:
    """The trial's folder of checkpoints."""
    return trial_of(Recorder()).checkpoint


def trial_of(recorder: Recorder, metric: str = "eval_loss") -> UserTrial:
    return user_trial(Path("kept"), recorder, Objective((metric,), ("minimize",)))


def fit(
    program: ModuleType, recorder: Recorder, *, metric: str = "eval_loss", **arguments: Any
) -> Any:
    """The trial's Trainer after three epochs, or as many as the arguments say."""
    settings = {
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-3,
        "logging_strategy": "epoch",
    }
    trial = trial_of(recorder, metric)
    return program.fit(trial, Path("rows.csv"), **{**settings, **arguments})


def accuracies(recorder: Recorder) -> list[dict[str, float]]:
    """What does not depend on how fast the machine was."""
    return [
        {
            name: value
            for name, value in metrics.values.items()
            if name in ("eval_loss", "eval_accuracy")
        }
        for metrics in recorder.history
    ]


def test_each_evaluation_is_reported_with_all_that_it_measured(program: ModuleType) -> None:
    recorder = Recorder()
    fit(program, recorder)
    assert recorder.heard == [1, 2, 3]
    assert recorder.n_epochs == EPOCHS
    for metrics in recorder.history:
        assert {"eval_loss", "eval_accuracy", "loss", "learning_rate"} <= set(metrics.values)
        assert not {"epoch", "step"} & set(metrics.values)
    assert sorted(os.listdir()) == ["kept", "rows.csv"]
    assert os.listdir(kept()) == [f"checkpoint-{EPOCHS * N_BATCHES}"]


def test_a_trial_that_is_pruned_ends_there(program: ModuleType) -> None:
    recorder = Recorder(stop_after=2)
    with pytest.raises(TrialPruned):
        fit(program, recorder)
    assert recorder.heard == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "n_updates", "saved"),
    [
        ({}, 2, 2),
        ({}, N_BATCHES + 4, N_BATCHES + 4),
        ({}, N_BATCHES, N_BATCHES),  # the evaluation at the epoch's end comes first
        ({"gradient_accumulation_steps": 2}, 2, 2),
        ({"eval_strategy": "steps", "eval_steps": 4}, 4, 4),
        ({"eval_strategy": "steps", "eval_steps": 4}, 5, 5),
        ({"save_strategy": "steps", "save_steps": 2}, N_BATCHES, N_BATCHES),
        ({"eval_strategy": "steps", "eval_steps": 9}, N_BATCHES, N_BATCHES),
    ],
)
def test_a_trial_told_to_stop_goes_on_as_if_it_had_not(
    program: ModuleType, arguments: dict[str, Any], n_updates: int, saved: int
) -> None:
    undisturbed = Recorder()
    fit(program, undisturbed, **arguments)
    shutil.rmtree("kept")

    class Signal(program.TrainerCallback):  # type: ignore[name-defined]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stopped.is_told = state.global_step >= n_updates

    stopped = Stopping()
    with pytest.raises(TrialInterrupted):
        fit(program, stopped, callbacks=[Signal()], **arguments)
    assert f"checkpoint-{saved}" in os.listdir(kept())
    resumed = Recorder()
    resumed.history = stopped.history
    fit(program, resumed, **arguments)
    assert accuracies(resumed) == accuracies(undisturbed)


def test_what_was_saved_but_not_told_is_told_after_a_restart(program: ModuleType) -> None:
    undisturbed = Recorder()
    fit(program, undisturbed)
    shutil.rmtree("kept")
    for epoch in (2, EPOCHS):
        dying = Dying(epoch)
        with pytest.raises(Death):
            fit(program, dying)
        resumed = Recorder()
        resumed.history = dying.history
        fit(program, resumed)
        assert accuracies(resumed) == accuracies(undisturbed)
        shutil.rmtree("kept")


def test_half_a_checkpoint_is_none(program: ModuleType) -> None:
    from sweeper.integrations import TransformersCallback

    sweep = TransformersCallback(trial_of(Recorder()))
    assert sweep.checkpoint is None
    for number, text in ((5, "{}"), (12, "{"), (20, None), (100, "{}")):
        folder = kept() / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert sweep.checkpoint == str(kept() / "checkpoint-100")
    shutil.rmtree(kept() / "checkpoint-100")
    assert sweep.checkpoint == str(kept() / "checkpoint-5")


@pytest.mark.parametrize(
    "arguments",
    [
        {"eval_delay": 2},
        {"max_steps": 15},
        {"eval_strategy": "steps", "eval_steps": 4},
        {"eval_strategy": "steps", "eval_steps": 0.5},
        {"eval_strategy": "steps", "eval_steps": 6, "eval_delay": 7},
        {"eval_on_start": True},
        {"save_strategy": "best", "metric_for_best_model": "loss"},
    ],
)
def test_as_many_evaluations_are_planned_as_there_are(
    program: ModuleType, arguments: dict[str, Any]
) -> None:
    recorder = Recorder()
    trainer = fit(program, recorder, **arguments)
    assert recorder.n_epochs == len(recorder.heard)
    trainer.evaluate()  # a last one, which the trial has nothing to do with
    assert recorder.n_epochs == len(recorder.heard)


def test_several_data_sets_are_one_evaluation(program: ModuleType) -> None:
    from sweeper.integrations.transformers import evaluations

    log = [
        {"eval_a_loss": 9.0, "step": 0},
        {"loss": 3.0, "epoch": 0.5, "step": 3},
        {"eval_a_loss": 2.0, "epoch": 1.0, "step": 6},
        {"eval_b_loss": 1.0, "epoch": 1.0, "step": 6},
        {"eval_a_loss": 1.5, "step": 12},
        {"train_runtime": 1.0, "step": 12},
    ]
    assert list(evaluations(log)) == [
        {"loss": 3.0, "eval_a_loss": 2.0, "eval_b_loss": 1.0},
        {"eval_a_loss": 1.5},
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"output_dir": "out"}, "output_dir must be trial.checkpoint, which survives a restart"),
        ({"eval_strategy": "no"}, "eval_strategy must not be 'no', or there is nothing to report"),
    ],
)
def test_a_trainer_that_cannot_serve_a_trial_is_refused(
    program: ModuleType, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        fit(program, Recorder(), **arguments)


def test_an_objective_that_is_not_measured_is_named(program: ModuleType) -> None:
    with pytest.raises(TrainingError, match="measured eval_accuracy, eval_loss, .* not the obje"):
        fit(program, Recorder(), metric="accuracy")


def test_a_training_that_would_begin_anew_is_refused(program: ModuleType) -> None:
    from sweeper.integrations import TransformersCallback

    sweep = TransformersCallback(trial_of(Recorder()))
    trainer = program.Trainer(
        model=torch.nn.Linear(1, 1),
        args=program.TrainingArguments(eval_strategy="epoch", **sweep.training_arguments),
        train_dataset=program.Texts(Path("rows.csv"), is_training=True),
        eval_dataset=program.Texts(Path("rows.csv"), is_training=False),
        callbacks=[sweep],
    )
    with pytest.raises(TrainingError, match="resume_from_checkpoint=callback.checkpoint"):
        trainer.train()


def test_the_best_checkpoint_stays_beside_the_last(program: ModuleType) -> None:
    trainer = fit(
        program,
        Recorder(),
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        greater_is_better=False,
    )
    best = trainer.state.best_model_checkpoint
    assert best is not None
    assert json.loads(Path(best, "trainer_state.json").read_text())
