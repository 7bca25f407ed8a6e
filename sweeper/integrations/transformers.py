"""A trial that the ``Trainer`` of Hugging Face's transformers trains."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sweeper.errors import TrainingError, TrialInterrupted
from sweeper.integrations.reports import Reports, numbers_of, require_device
from sweeper.training.user_trial import UserTrial

_NAME = "TransformersCallback"
#: The last file of a checkpoint that the Trainer writes.
_STATE_FILE = "trainer_state.json"


class TransformersCallback(TrainerCallback):
    """Reports each evaluation, keeps a checkpoint to go on from, and stops when told to.

    Args:
        trial: That the Trainer trains.
    """

    def __init__(self, trial: UserTrial) -> None:
        self._trial = trial
        self._reports = Reports(trial, callback=_NAME, naming="return it from compute_metrics")
        self._was_asked = False  # for its checkpoint
        self._is_training = False
        self._is_evaluated = False  # and that is not yet reported
        self._n_ended = 0.0  # epochs, as far as all that follows their last update is under way

    @property
    def checkpoint(self) -> str | None:
        """For ``trainer.train(resume_from_checkpoint=...)``; None at the trial's begin."""
        self._was_asked = True
        found = {
            int(number): folder
            for folder in self._trial.checkpoint.glob("checkpoint-*")
            if (number := folder.name.partition("-")[2]).isdigit() and _is_whole(folder)
        }
        return str(found[max(found)]) if found else None

    @property
    def training_arguments(self) -> dict[str, Any]:
        """For ``TrainingArguments(..., **...)``: the trial's folder, seed and device."""
        return {
            "output_dir": str(self._trial.checkpoint),
            "save_total_limit": 1,
            "seed": self._trial.seed,
            "use_cpu": self._trial.device.type == "cpu",
            "report_to": "none",
        }

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """See that the Trainer can serve the trial."""
        if Path(args.output_dir).resolve() != self._trial.checkpoint.resolve():
            raise TrainingError(
                f"{_NAME}: output_dir must be trial.checkpoint, which survives a restart; "
                f"got {args.output_dir}"
            )
        if args.eval_strategy == "no":
            raise TrainingError(
                f"{_NAME}: eval_strategy must not be 'no', or there is nothing to report; "
                "say TrainingArguments(eval_strategy='epoch')"
            )
        require_device(
            self._trial,
            args.device,
            callback=_NAME,
            way_out="give TrainingArguments **callback.training_arguments; beside other GPUs set "
            "run.gpus_per_trial: 1, as it takes all that it sees",
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Tell how many evaluations there will be, and those that were before a restart."""
        if not self._was_asked:
            raise TrainingError(
                f"{_NAME}: trainer.train must be given "
                "resume_from_checkpoint=callback.checkpoint, or it begins anew after each stop"
            )
        self._is_training = True
        self._reports.plan(count_evaluations(args, state))
        self._tell(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report an evaluation that nothing was saved after (``save_strategy="best"``)."""
        if self._is_evaluated:
            self._tell(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Save after this update if told to stop; at the end of an epoch that comes later."""
        if self._trial.is_stopping() and not float(state.epoch).is_integer():
            control.should_save = True
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Save after the evaluation that follows, if one does."""
        self._n_ended = state.epoch
        control.should_save = True
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Save before it is reported, so that what is known can be gone on from."""
        if self._is_training:
            self._is_evaluated = True
            control.should_save = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report what was evaluated, and stop if told to and more is to come."""
        self._tell(state)
        is_between = not float(state.epoch).is_integer() or self._n_ended == state.epoch
        if self._trial.is_stopping() and is_between and state.global_step < state.max_steps:
            raise TrialInterrupted(
                f"stopped in epoch {state.epoch:.2f}, update {state.global_step}"
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Report an evaluation that nothing was saved after; what comes later is the user's."""
        self._tell(state)
        self._is_training = False

    def _tell(self, state: TrainerState) -> None:
        self._is_evaluated = False
        self._reports.tell(list(evaluations(state.log_history)))


def evaluations(log_history: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, float]]:
    """What each evaluation measured, with what was logged of training since the one before.

    Evaluations of several data sets after one update are one; that before training is none.
    """
    found: dict[int, dict[str, float]] = {}
    training: dict[str, float] = {}
    for entry in log_history:
        step = entry["step"]
        if not any(name.startswith("eval_") for name in entry):
            training.update(numbers_of(entry))
        elif step:
            found.setdefault(step, {}).update({**training, **numbers_of(entry)})
            training = {}
    return found.values()


def count_evaluations(args: TrainingArguments, state: TrainerState) -> int:
    """How many there will be if nothing ends training early."""
    if args.eval_strategy == "epoch":
        return sum(epoch >= args.eval_delay for epoch in range(1, state.num_train_epochs + 1))
    steps = range(state.eval_steps, state.max_steps + 1, state.eval_steps)
    return sum(step >= args.eval_delay for step in {*steps, state.max_steps})


def _is_whole(folder: Path) -> bool:
    """Whether the process that wrote a checkpoint lived to its end."""
    try:
        json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
