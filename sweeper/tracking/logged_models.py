"""A complete trial's model as an MLflow model that needs neither this package nor pickle."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model

from sweeper.config.names import WEIGHTS
from sweeper.config.references import is_reference
from sweeper.durable import Step, durable
from sweeper.errors import RequestRefusedError
from sweeper.events import ModelLogged, Started
from sweeper.tracking.batch import param_texts
from sweeper.tracking.exporting import (
    Exporting,
    ExportKilledError,
    ExportTask,
    UnreadableError,
)
from sweeper.tracking.mirrored_study import MirroredStudy
from sweeper.tracking.parent import Parent
from sweeper.tracking.program_form import ProgramForm
from sweeper.tracking.programs import PROGRAM, save_program
from sweeper.tracking.runs import list_models

_logger = logging.getLogger("sweeper")

#: MLflow keeps no model with one of these in its name.
_REFUSED = str.maketrans(dict.fromkeys("/:.%\"'", "_"))


#: ``pt2`` is a model of MLflow. Of one that cannot be exported MLflow has the state_dict, and the
#: reference to its builder, instead. It has the same of one that could not be built, as nobody
#: named a study file with that reference: ``weights``; and of one whose export was killed:
#: ``killed``. Of a file that holds no state_dict it has nothing: ``unreadable``.
Form = Literal["pt2", "state_dict", "weights", "killed", "unreadable"]


@dataclass(frozen=True)
class LoggedForm:
    """How a model was logged, and its id if it is one of MLflow's."""

    form: Form
    model_id: str | None = None


class ModelLogger:
    """Logs the models of complete trials to their runs.

    Args:
        parent: The study's run.
        study: The study. Of what a log names no more than its ``references`` is imported: others
            may have written it.
        exporter: Exports what the study file describes.
    """

    def __init__(self, parent: Parent, study: MirroredStudy, exporter: Exporting) -> None:
        self._client = parent.client
        self._experiment_id = parent.experiment_id
        self._study = study
        self._exporter = exporter
        self._told: set[str] = set()

    def log(
        self,
        run_id: str,
        name: str,
        started: Started,
        weights: Path,
        preprocessing: Path,
    ) -> LoggedForm:
        """Log the model of a complete trial, once however often this is called.

        The logged model takes rows as the data have them, and answers by the names of classes,
        labels or targets. Of data for which nothing is kept it takes [B, *input_shape] of their
        dtype with any B >= 1, images in [0, 1] as torchvision's ``ToTensor`` gives them, and
        returns [B, n_outputs]: logits of classes or labels, or numbers in the units of the
        targets. It lies at ``runs:/<run_id>/<name>``. A model that ``torch.export`` does not take,
        or whose builder may not be called, is logged as its state_dict and the reference to its
        builder, in the run's folder ``weights``; the former with a warning.

        Args:
            run_id: The trial's run.
            name: Of the model; signs that MLflow does not take become ``_``.
            started: Of the trial, with ``model`` and ``data``.
            weights: File with the model's state_dict.
            preprocessing: File with what was fitted to the data, if the trial names one. Should
                it be missing, the model takes and returns tensors, and that is said.

        Raises:
            MlflowException: If MLflow cannot be used or refuses.
            RequestRefusedError: If this machine's disk does not let a model be made.
        """
        task = _task(started, weights, preprocessing)
        reference = {"model": asdict(task.model), "data": asdict(task.data)}
        save = partial(self._save_built, name, task)
        return self._log_once(run_id, name, started, weights, reference, save)

    def log_own(
        self, run_id: str, name: str, started: Started, own: ModelLogged, file: Path
    ) -> LoggedForm:
        """Log the model that the code of a complete trial logged, once as :meth:`log` does.

        What lies at ``file`` is neither loaded nor run. A state_dict goes to the run's folder
        ``weights``, with the name of its module; so does a program of which MLflow makes no model,
        and that is said.

        Args:
            run_id: The trial's run.
            name: As of :meth:`log`.
            started: Of the trial.
            own: What its code logged.
            file: The program, or the state_dict.

        Raises:
            MlflowException, RequestRefusedError: As :meth:`log`.
        """
        reference = {"module": own.module}
        if own.form == "state_dict":
            self._log_weights(run_id, file, reference)
            return LoggedForm("state_dict")
        save = partial(_save_own, own, file)
        return self._log_once(run_id, name, started, file, reference, save)

    def prepare(self, started: Started, weights: Path, preprocessing: Path) -> None:
        """Let a network like that of a trial be exported, so that :meth:`log` need not wait.

        Args:
            started: Of the trial, with ``model`` and ``data``.
            weights: As of :meth:`log`, where they will lie.
            preprocessing: As of :meth:`log`.
        """
        task = _task(started, weights, preprocessing)
        if self._may_build(task):
            self._exporter.prepare(task)

    def _log_once(
        self,
        run_id: str,
        name: str,
        started: Started,
        file: Path,
        reference: Mapping[str, Any],
        save: Callable[[Path], Model | Form],
    ) -> LoggedForm:
        """Log what ``save`` writes to a folder; if that is no model, the file with its reference.

        The folder has all of a model but what is its own in MLflow.
        """
        begun = next(iter(list_models(self._client, self._experiment_id, run_id)), None)
        if begun and begun.status == LoggedModelStatus.READY:
            return LoggedForm("pt2", begun.model_id)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            try:
                saved = save(folder)
            except OSError as exc:
                raise _disk_error(file, exc) from exc
            if isinstance(saved, Model):
                model = begun or self._create(run_id, name, started)
                self._upload(run_id, model, saved, folder, may_be_linked=begun is not None)
                return LoggedForm("pt2", model.model_id)
        if saved != "unreadable":
            self._log_weights(run_id, file, reference)
        return LoggedForm(saved)

    def _save_built(self, name: str, task: ExportTask, folder: Path) -> Model | Form:
        """Build and export a model; what it is logged as if that cannot be."""
        try:
            if not self._may_build(task):
                self._exporter.check(task.weights)
                return "weights"
            program = folder.with_name(PROGRAM.name)
            exported = self._exporter.export(task, program)
            if exported.bare:
                self._tell_bare(name, exported.bare)
            return save_program(exported.form, program, folder)
        except UnreadableError as exc:
            _logger.warning("%s: holds no state_dict (%s); it is not sent", task.weights, exc)
            return "unreadable"
        except (OSError, RequestRefusedError):  # of the disk, or of an exporter that was closed
            raise
        except Exception as exc:
            _logger.warning(
                "%s: cannot be logged as pt2 (%s); logged as state_dict and reference instead",
                task.weights,
                str(exc).partition("\n")[0],
            )
            return "killed" if isinstance(exc, ExportKilledError) else "state_dict"

    def _may_build(self, task: ExportTask) -> bool:
        architecture = task.model.architecture
        return not is_reference(architecture) or architecture in self._study.references

    def _tell_bare(self, name: str, cause: str) -> None:
        if cause not in self._told:
            self._told.add(cause)
            _logger.warning(
                "the model %s takes samples as its network does, and answers without names: %s",
                name,
                cause,
            )

    def _create(self, run_id: str, name: str, started: Started) -> LoggedModel:
        params = param_texts(started, self._study.searched)
        with durable(Step.MODEL_LOG):
            return self._client.create_logged_model(
                self._experiment_id,
                name.translate(_REFUSED),
                source_run_id=run_id,
                params=params,
            )

    def _upload(
        self,
        run_id: str,
        model: LoggedModel,
        description: Model,
        folder: Path,
        *,
        may_be_linked: bool,
    ) -> None:
        """Put the files of ``folder`` into ``model``; may be repeated after a crash."""
        description.run_id = run_id
        description.model_id = description.model_uuid = model.model_id
        description.artifact_path = model.artifact_location
        description.save(str(folder / "MLmodel"))
        with durable(Step.MODEL_LOG):
            self._client.log_model_artifacts(model.model_id, str(folder))
            if not (may_be_linked and self._is_linked(run_id, model)):
                self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _is_linked(self, run_id: str, model: LoggedModel) -> bool:
        outputs = self._client.get_run(run_id).outputs
        linked = outputs.model_outputs if outputs else []
        return model.model_id in {output.model_id for output in linked}

    def _log_weights(self, run_id: str, weights: Path, reference: Mapping[str, Any]) -> None:
        with durable(Step.MODEL_LOG):
            self._client.log_artifact(run_id, str(weights), WEIGHTS)
            self._client.log_dict(run_id, dict(reference), f"{WEIGHTS}/reference.json")


def _save_own(own: ModelLogged, file: Path, folder: Path) -> Model | Form:
    """Write a model around a program; what it is logged as if MLflow makes none of it."""
    try:
        return save_program(ProgramForm(own.inputs, own.outputs, own.packages), file, folder)
    except OSError:
        raise
    except Exception as exc:
        cause = str(exc).partition("\n")[0]
        _logger.warning("%s: MLflow makes no model of it (%s); sent as it is instead", file, cause)
        return "weights"


def _disk_error(file: Path, exc: OSError) -> RequestRefusedError:
    return RequestRefusedError(
        f"{file}: no MLflow model can be made of it now: {exc}; make room in "
        f"{tempfile.gettempdir()}, or name another folder in TMPDIR. The file stays until MLflow "
        "has its model"
    )


def _task(started: Started, weights: Path, preprocessing: Path) -> ExportTask:
    assert started.model is not None
    assert started.data is not None
    return ExportTask(started.model, started.data, weights, preprocessing)
