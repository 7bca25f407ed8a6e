"""Models of complete trials, on their way to MLflow."""

import logging
from functools import cached_property
from typing import TYPE_CHECKING

from sweeper.durable import Step, durable
from sweeper.events import ModelLogged, Started
from sweeper.imports import loading
from sweeper.tracking.batch import epoch_metrics, run_tags
from sweeper.tracking.client import artifact_errors
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.exporting import Exporting
from sweeper.tracking.mirrored_study import MirroredStudy, Sent
from sweeper.tracking.own_exporter import import_exporter
from sweeper.tracking.parent import Parent
from sweeper.tracking.runs import trial_name

if TYPE_CHECKING:
    from sweeper.tracking.logged_models import LoggedForm, ModelLogger

_logger = logging.getLogger("sweeper")

#: What logs the models of trials of which MLflow has the weights alone, and could have more.
_LOGS_MODEL = {"best": "sweeper sync STUDY.yaml", "completed": "sweeper doctor STUDY.yaml --fix"}


class TrialModels:
    """Logs the models of trials to their runs.

    Args:
        parent: The study's run.
        study: Whose trials they are.
        sent: Counts them.
        exporter: Exports what the study file describes; None for this process.
    """

    def __init__(
        self, parent: Parent, study: MirroredStudy, sent: Sent, exporter: Exporting | None
    ) -> None:
        self._parent = parent
        self._study = study
        self._paths = study.paths
        self._sent = sent
        self._exporter = exporter
        self._is_prepared = False

    def prepare(self, number: int) -> None:
        """Let a network like that of a trial which runs be exported, unless one was already.

        That is most of what a first model takes, and is left out in this process, which has else
        to do. A trial's model that is built alike then only takes its place.
        """
        if self._is_prepared or self._exporter is None:
            return
        events, _ = self._study.read_log(number)
        started = next((event for event in events if isinstance(event, Started)), None)
        if started and started.model and started.data:
            self._is_prepared = True
            kept = self._paths.preprocessing(started.data.preprocessing)
            self._models.prepare(started, self._paths.model(number), kept)

    def log(self, number: int, cursor: Cursor) -> None:
        """Log the model of a complete trial, built of the study file or logged by its own code."""
        events, _ = self._study.read_log(number)
        started = next((event for event in events if isinstance(event, Started)), None)
        own = next((event for event in reversed(events) if isinstance(event, ModelLogged)), None)
        if started is None or (own is None and not (started.model and started.data)):
            return
        is_program = own is not None and own.form == "pt2"
        file = self._paths.exported_model(number) if is_program else self._paths.model(number)
        if not file.exists():
            _logger.warning("%s: absent; trial %d gets no model in MLflow", file, number)
            return
        models, name = self._models, trial_name(self._paths.study, number, started)
        with artifact_errors(self._study.uri):
            if own is not None:
                logged = models.log_own(cursor.run_id, name, started, own, file)
            else:
                logged = self._log_built(number, cursor.run_id, name, started)
        metrics = []
        if cursor.best and logged.model_id:
            objective = self._study.objective
            metrics = epoch_metrics(cursor.best, objective, logged.model_id)
            # The page shows a model's metrics in the order in which they came.
            metrics.sort(key=lambda metric: metric.key not in objective.metrics)
        tags = run_tags({"sweeper.model": logged.form})
        with durable(Step.MIRROR_SEND):
            self._parent.client.log_batch(cursor.run_id, metrics=metrics, tags=tags)
        self._sent.n_models += logged.form != "unreadable"

    def _log_built(self, number: int, run_id: str, name: str, started: Started) -> "LoggedForm":
        """Log a model that is built as the study file says, of the trial's weights."""
        assert started.model is not None
        assert started.data is not None
        weights = self._paths.model(number)
        kept = self._paths.preprocessing(started.data.preprocessing)
        logged = self._models.log(run_id, name, started, weights, kept)
        if logged.form == "weights":
            _logger.warning(
                "%s: sent with the reference %s, which names code that is not called, as no study "
                "file that names it was given; `%s`, where that code can be imported, logs the "
                "model itself",
                weights,
                started.model.architecture,
                _LOGS_MODEL[self._study.log_models],
            )
        elif logged.form == "killed":
            again = _LOGS_MODEL[self._study.log_models]
            _logger.warning("`%s` tries again to export the model of trial %d", again, number)
        return logged

    @cached_property
    def _models(self) -> "ModelLogger":
        with loading("models of MLflow"):
            from sweeper.tracking.logged_models import ModelLogger
        return ModelLogger(self._parent, self._study, self._exporter or import_exporter())
