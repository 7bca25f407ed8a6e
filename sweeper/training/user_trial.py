"""What a user's own training routine is given beside the parameters."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.config.names import metric_name_fault
from sweeper.errors import TrainingError
from sweeper.events import FileLogged, ModelLogged, TagsSet
from sweeper.paths import RunPaths
from sweeper.timing import Entry
from sweeper.training.reporter import Reporter
from sweeper.training.user_files import draw_figure, files_of, keep_file
from sweeper.training.user_tags import Tags
from sweeper.trial import EpochMetrics, Objective

log = logging.getLogger("sweeper")


@dataclass(frozen=True, kw_only=True)
class UserTrial:
    """What a user's training function is given beside the parameters.

    Attributes:
        number: Of the trial in its study, from 0.
        seed: For whatever else is to be seeded, in [0, 2**32) as most libraries want it. Python,
            NumPy and torch are seeded already.
        device: Where to train.
        paths: Names of the trial's files.
        objective: The metrics that every report must hold.
        reporter: Who follows the trial.
        keeps_model: Whether a model that it logs is wanted (``tracking.log_models``).
        note: Told what the user should know.
        clock: Seconds since the Unix epoch.
    """

    number: int
    seed: int
    device: torch.device
    paths: RunPaths
    objective: Objective
    reporter: Reporter
    keeps_model: bool = True
    note: Callable[[str], None] = log.warning
    clock: Callable[[], float] = time.time
    _examples: list[object] = field(default_factory=list, init=False, repr=False)
    _reported: list[int] = field(default_factory=list, init=False, repr=False)
    _told_to_stop: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        self.checkpoint.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """A folder that survives a restart of the trial; it exists."""
        return self.paths.user_checkpoint(self.number)

    @property
    def history(self) -> Sequence[EpochMetrics]:
        """What was reported so far, also before a restart."""
        return list(self.reporter.history)

    @property
    def n_epochs(self) -> int | None:
        """The last epoch that will be reported, by ``train.epochs`` or :meth:`plan_epochs`.

        None if neither says it.
        """
        return self.reporter.n_epochs

    @cached_property
    def tags(self) -> Tags:
        """Tags of the trial's run in MLflow, to be set as items of a dict."""
        return Tags(
            self.reporter.tags, lambda tags: self.reporter.log(TagsSet(self.clock(), tags))
        )

    def is_stopping(self) -> bool:
        """Whether the trial must leave its process now, which is cheap to ask after every batch.

        If so, save what is needed to go on, and return or raise whatever you like: the trial waits
        then, and another process goes on with it. It is complete only if its last epoch, as
        ``n_epochs`` has it, is reported.
        """
        if self.reporter.is_stopping():
            self._told_to_stop.set()
        return self._told_to_stop.is_set()

    @property
    def is_broken_off(self) -> bool:
        """Whether its function, which has returned, did so as :meth:`is_stopping` told it to."""
        n_epochs, history = self.n_epochs, self.reporter.history
        is_over = n_epochs is not None and bool(history) and history[-1].epoch >= n_epochs
        return self._told_to_stop.is_set() and not is_over

    def plan_epochs(self, n_epochs: int) -> None:
        """Tell how many epochs the trial will report, before its first report.

        A pruner with ``min_epochs: auto`` takes it, of the first trial that tells, unless the
        study file has ``train.epochs``. After its last epoch a trial is not pruned.

        Args:
            n_epochs: The last epoch that will be reported, >= 1.

        Raises:
            TrainingError: If it is none, or comes after a report.
            TrialInterrupted: To end the trial now; let it pass.
        """
        if not _is_epoch(n_epochs):
            raise TrainingError(
                f"trial.plan_epochs: must be given an integer >= 1, got {n_epochs!r}"
            )
        if self._reported:
            raise TrainingError(
                f"trial.plan_epochs: comes after the report of epoch {self._reported[-1]}; call "
                "it before the first report"
            )
        self.reporter.plan_epochs(n_epochs)

    def report(self, epoch: int, **metrics: float | Tensor) -> None:
        """Tell what one epoch measured.

        Args:
            epoch: Epochs done, >= 1, more than at the call before. One that an earlier process of
                the trial reported is ignored.
            **metrics: Real numbers or tensors of one element, each of the objective's among them.

        Raises:
            TrainingError: If the call is none of that.
            TrialPruned, TrialDiverged, TrialInterrupted: To end the trial now; let them pass.
        """
        if not _is_epoch(epoch):
            raise TrainingError(f"trial.report: epoch must be an integer >= 1, got {epoch!r}")
        if self._reported and epoch <= self._reported[-1]:
            raise TrainingError(
                f"trial.report: epochs must increase, got {epoch} after {self._reported[-1]}"
            )
        for name in metrics:
            if fault := metric_name_fault(name, self.objective.metrics):
                raise TrainingError(f"trial.report: {name!r} is no name for a metric: {fault}")
        missing = [name for name in self.objective.metrics if name not in metrics]
        if missing:
            raise TrainingError(
                f"trial.report: every report needs the objective's {', '.join(missing)}; epoch "
                f"{epoch} reported {', '.join(metrics) or 'nothing'}"
            )
        values = {name: _as_number(name, value) for name, value in metrics.items()}
        self._reported.append(epoch)
        self.reporter.report(EpochMetrics(epoch, values, self.clock()))

    def log_artifact(self, path: str | os.PathLike[str], folder: str = "") -> None:
        """Let the trial's run in MLflow have a copy of a file, or of all files of a folder.

        It is copied into the trial's folder and sent from there, whatever becomes of the process.
        Logged once more, with another content, it takes the place of what was logged before.

        Args:
            path: Of the file or folder; it keeps its name.
            folder: Of the run, ``a/b``; empty for its top.

        Raises:
            TrainingError: If nothing is there, or MLflow cannot keep it under that name.
            TrialInterrupted: To end the trial now; let it pass.
        """
        for name, source in files_of(Path(path), folder):
            self._log_file(name, partial(shutil.copyfile, source))

    def log_figure(self, figure: Any, name: str) -> None:
        """Let the trial's run in MLflow have a figure, as :meth:`log_artifact` does.

        Args:
            figure: Of matplotlib or plotly.
            name: Of the file, ``plots/roc.png``; its end says the form. One of plotly may be
                ``.html`` or ``.json``, other forms need its package kaleido.

        Raises:
            TrainingError: If it is no figure, or MLflow cannot keep it under that name.
            TrialInterrupted: To end the trial now; let it pass.
        """
        self._log_file(name, draw_figure(figure, name))

    def _log_file(self, name: str, write: Callable[[Path], object]) -> None:
        with self.reporter.ledger.booked(Entry.CHECKPOINT):
            self.reporter.require_ownership()
            digest = keep_file(self.paths.logged_files(self.number), name, write)
            self.reporter.log(FileLogged(self.clock(), name, digest))

    def log_model(self, module: nn.Module, example: object) -> None:
        """Let the trial's run in MLflow have a model, if the trial is complete in the end.

        It is exported now, in eval mode, and can then be loaded where your code is not; the module
        is left as it is. The last one counts. What cannot be exported is logged as its state_dict,
        and that is said.

        Args:
            module: As it is trained.
            example: A batch as the module takes it: a tensor, a tuple of tensors, or tensors by
                the names of its arguments. Their first side is the batch.

        Raises:
            TrainingError: If it is no module.
            StoreError: If the disk does not take it.
            TrialInterrupted: To end the trial now; let it pass.
        """
        if not isinstance(module, nn.Module):
            raise TrainingError(
                f"trial.log_model: wanted is a torch.nn.Module, got a {type(module).__name__}"
            )
        self._examples[:] = [example]
        if self.keeps_model:
            with self.reporter.ledger.booked(Entry.CHECKPOINT):
                self.reporter.require_ownership()
                self.reporter.log(self._keep_model(module, example))

    def _keep_model(self, module: nn.Module, example: object) -> ModelLogged:
        from sweeper.training.user_model import keep_model  # torch.export: most of a second

        return keep_model(
            module,
            example,
            program=self.paths.exported_model(self.number),
            weights=self.paths.model(self.number),
            time_s=self.clock(),
            note=self.note,
        )

    def log_returned(self, module: nn.Module) -> None:
        """Log the module that the function returned, with the last example that is known."""
        if self._examples:
            self.log_model(module, self._examples[0])
        elif self.keeps_model:
            self.note(
                f"the function returned a {type(module).__qualname__}, which is not logged, as "
                "this process was given no batch to export it with: return module, example"
            )


def _is_epoch(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _as_number(name: str, value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value.item())
    if isinstance(value, Real):
        return float(value)
    raise TrainingError(
        f"trial.report: {name} must be a real number or a tensor of one element, got "
        f"{type(value).__name__} {value!r}"
    )
