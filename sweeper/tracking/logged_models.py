"""A complete trial's model as an MLflow model that needs neither this package nor pickle."""

import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model

from sweeper.config.names import WEIGHTS
from sweeper.config.references import is_reference
from sweeper.config.settings import ModelConfig
from sweeper.data.preprocessing import read_preprocessing
from sweeper.durable import Step, durable
from sweeper.events import ModelLogged, Started
from sweeper.models.build import build_for
from sweeper.tracking.batch import param_texts
from sweeper.tracking.exported import ExportedModel, ExportedModels, save_exported
from sweeper.tracking.programs import save_program
from sweeper.tracking.served import Served
from sweeper.tracking.trained import build_trained, form_of, probe_of
from sweeper.trial import DataInfo

_logger = logging.getLogger("sweeper")

#: MLflow keeps no model with one of these in its name.
_REFUSED = str.maketrans(dict.fromkeys("/:.%\"'", "_"))


@dataclass(frozen=True)
class LoggedForm:
    """How a model was logged.

    Attributes:
        form: ``pt2`` is a model of MLflow. Of one that cannot be exported MLflow has the
            state_dict, and the reference to its builder, instead. It has the same of one that
            could not be built, as nobody named a study file with that reference: ``weights``.
            Of a file that holds no state_dict it has nothing: ``unreadable``.
        model_id: None when it is no MLflow model.
    """

    form: Literal["pt2", "state_dict", "weights", "unreadable"]
    model_id: str | None = None


class ModelLogger:
    """Logs the models of complete trials to their runs.

    Args:
        client: Of the store that holds the runs.
        experiment_id: Of the runs.
        searched: Names of the study's ranges.
        references: The user's own code that may be called. Of what else a log names none is
            imported: others may have written it.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        *,
        searched: Collection[str],
        references: Collection[str],
    ) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._searched = searched
        self._references = references
        self._exported = ExportedModels()
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
        """
        begun = self._find(run_id)
        if begun and begun.status == LoggedModelStatus.READY:
            return LoggedForm("pt2", begun.model_id)
        try:
            state = _read_state(weights)
        except Exception as exc:  # whatever torch meets in a file of somebody else
            _logger.warning("%s: holds no state_dict (%s); it is not sent", weights, exc)
            return LoggedForm("unreadable")
        architecture = _subject(started)[0].architecture
        if is_reference(architecture) and architecture not in self._references:
            self._log_weights(run_id, weights, _reference(started))
            return LoggedForm("weights")
        served = self._find_served(name, _subject(started)[1], preprocessing)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            try:
                with _one_thread():
                    description = self._save(started, state, served, folder).describe(run_id)
            except (Exception, SystemExit) as exc:  # of a user's builder
                _logger.warning(
                    "%s: cannot be logged as pt2 (%s); logged as state_dict and reference instead",
                    weights,
                    str(exc).partition("\n")[0],
                )
                self._log_weights(run_id, weights, _reference(started))
                return LoggedForm("state_dict")
            model = begun or self._create(run_id, name, started)
            self._upload(run_id, model, description, folder, may_be_linked=begun is not None)
        return LoggedForm("pt2", model.model_id)

    def prepare(self, name: str, started: Started, preprocessing: Path) -> None:
        """Export a network like that of a trial, so that :meth:`log` need not.

        Args:
            name: Of the model.
            started: Of the trial, with ``model`` and ``data``.
            preprocessing: As of :meth:`log`.

        Raises:
            Exception: Whatever building or ``torch.export`` raises.
        """
        model, data = _subject(started)
        if is_reference(model.architecture) and model.architecture not in self._references:
            return
        served = self._find_served(name, data, preprocessing)
        state = build_for(model, data).state_dict()
        with tempfile.TemporaryDirectory() as scratch, _one_thread():
            self._save(started, state, served, Path(scratch) / "model")

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
            MlflowException: If MLflow cannot be used or refuses.
        """
        begun = self._find(run_id)
        if begun and begun.status == LoggedModelStatus.READY:
            return LoggedForm("pt2", begun.model_id)
        if own.form == "state_dict":
            self._log_weights(run_id, file, {"module": own.module})
            return LoggedForm("state_dict")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            try:
                description = save_program(own, file, folder)
            except Exception as exc:
                cause = str(exc).partition("\n")[0]
                _logger.warning(
                    "%s: MLflow makes no model of it (%s); sent as it is instead", file, cause
                )
                self._log_weights(run_id, file, {"module": own.module})
                return LoggedForm("weights")
            description.run_id = run_id
            model = begun or self._create(run_id, name, started)
            self._upload(run_id, model, description, folder, may_be_linked=begun is not None)
        return LoggedForm("pt2", model.model_id)

    def _find(self, run_id: str) -> LoggedModel | None:
        condition = f"source_run_id = '{run_id}'"
        known = self._client.search_logged_models([self._experiment_id], condition)
        return known[0] if known else None

    def _find_served(self, name: str, data: DataInfo, path: Path) -> Served | None:
        if not data.preprocessing:
            if data.features is not None:
                self._tell_bare(name, "it was trained by an older version of sweeper")
            return None
        try:
            return Served(read_preprocessing(path, data.preprocessing), data)
        except FileNotFoundError:
            self._tell_bare(name, f"{path} is absent")
        except Exception as exc:  # whatever torch meets in a file of somebody else
            self._tell_bare(name, f"{path} {exc}")
        return None

    def _tell_bare(self, name: str, cause: str) -> None:
        if cause not in self._told:
            self._told.add(cause)
            _logger.warning(
                "the model %s takes samples as its network does, and answers without names: %s",
                name,
                cause.partition("\n")[0],
            )

    def _save(
        self, started: Started, state: Mapping[str, Any], served: Served | None, folder: Path
    ) -> ExportedModel:
        """Write the model but for ``MLmodel``."""
        model, data = _subject(started)
        module = build_trained(model, data, state, served)
        probe = served.probe() if served else probe_of(data)
        kind = form_of(model, data, served)
        exported = self._exported.find(kind)
        if exported:
            exported.save(module, probe, folder)
        else:
            exported = save_exported(module, probe, folder, served)
            self._exported.keep(kind, exported)
        return exported

    def _create(self, run_id: str, name: str, started: Started) -> LoggedModel:
        params = param_texts(started, self._searched)
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


def _reference(started: Started) -> Mapping[str, Any]:
    """What builds the module that a state_dict is of."""
    model, data = _subject(started)
    return {"model": asdict(model), "data": asdict(data)}


def _read_state(weights: Path) -> Mapping[str, Any]:
    """The state_dict of a file; nothing in it can run code."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise TypeError(f"it holds a {type(state).__name__}")
    return state


@contextmanager
def _one_thread() -> Iterator[None]:
    """For three samples, threads mostly wait for each other, and each burns a core at it."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _subject(started: Started) -> tuple[ModelConfig, DataInfo]:
    assert started.model is not None
    assert started.data is not None
    return started.model, started.data
