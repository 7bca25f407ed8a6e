"""A complete trial's model as an MLflow model that needs neither this package nor pickle."""

import logging
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import mlflow.pytorch
import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import Tensor, nn

from sweeper.config import ModelConfig
from sweeper.durable import Step, durable
from sweeper.events import Started
from sweeper.models import build_model
from sweeper.trial import DataInfo

_logger = logging.getLogger("sweeper")

_NAME = "model"


@dataclass(frozen=True)
class LoggedForm:
    """How a model was logged; ``model_id`` is None when it is no MLflow model."""

    form: Literal["pt2", "state_dict"]
    model_id: str | None


class Normalize(nn.Module):
    """Shift and scale each channel, so that a logged model takes images as files give them.

    Args:
        mean: Per channel, in units of the input.
        std: As ``mean``, > 0.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        shape = (-1, 1, 1) if len(mean) > 1 else ()  # several channels are those of images
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))

    def forward(self, images: Tensor) -> Tensor:
        """Map float32 [B, C, H, W], or [B, ...] of one channel, in [0, 1] to the same shape."""
        return (images - self.get_buffer("mean")) / self.get_buffer("std")


def log_model(
    client: MlflowClient, *, experiment_id: str, run_id: str, started: Started, weights: Path
) -> LoggedForm:
    """Log the model of a complete trial to its run, once however often this is called.

    The logged model takes float32 [B, *input_shape] with any B >= 1, images in [0, 1] as
    torchvision's ``ToTensor`` gives them, and returns logits [B, n_classes]. It lies at
    ``runs:/<run_id>/model``. A model that ``torch.export`` cannot trace is logged as its
    state_dict and the reference to its builder, in the run's folder ``weights``, with a warning.

    Args:
        client: Of the store that holds the run.
        experiment_id: Of the run.
        run_id: The trial's run.
        started: Of the trial, with ``model`` and ``data``.
        weights: File with the model's state_dict.

    Raises:
        MlflowException: If MLflow cannot be used or refuses.
    """
    known = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    if known and known[0].status == LoggedModelStatus.READY:
        return LoggedForm("pt2", known[0].model_id)
    assert started.model is not None
    assert started.data is not None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / _NAME
        card = Model(run_id=run_id)
        try:
            module = load_module(started.model, started.data, weights)
            save_module(module, started.data.input_shape, folder, card)
        except Exception as exc:
            _logger.warning(
                "%s: cannot be logged as pt2 (%s); logged as state_dict and reference instead",
                weights,
                str(exc).partition("\n")[0],
            )
            _log_weights(client, run_id, started, weights)
            return LoggedForm("state_dict", None)
        model = known[0] if known else _create(client, experiment_id, run_id, started)
        _upload(client, run_id, model, card, folder)
    return LoggedForm("pt2", model.model_id)


def load_module(model: ModelConfig, data: DataInfo, weights: Path) -> nn.Module:
    """The trained model in eval mode, with the normalisation of its training data in front.

    Raises:
        TrainingError: If the architecture cannot be built.
        RuntimeError: If the weights do not fit it.
    """
    net = build_model(model.architecture, data.input_shape, data.n_classes, **model.params)
    net.to(memory_format=torch.contiguous_format)  # in channels_last a pt2 file warns of strides
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    if data.mean:
        net = nn.Sequential(Normalize(data.mean, data.std), net)
    return net.eval()


def save_module(
    module: nn.Module, input_shape: tuple[int, ...], folder: Path, card: Model
) -> None:
    """Write ``module`` as an MLflow model in pt2 form and check that any batch size passes.

    Raises:
        Exception: Whatever ``torch.export`` raises for a model that it cannot trace.
        ValueError: If the trace answers otherwise than the model.
    """
    # A batch of 1 would fix the batch at 1.
    example = np.zeros((2, *input_shape), np.float32)
    with torch.no_grad():
        probe = torch.rand(3, *input_shape, generator=torch.Generator().manual_seed(0))
        logits = module(probe)
    mlflow.pytorch.save_model(
        module,
        str(folder),
        mlflow_model=card,
        signature=ModelSignature(
            Schema([TensorSpec(example.dtype, (-1, *input_shape))]),
            Schema([TensorSpec(np.dtype("float32"), (-1, *logits.shape[1:]))]),
        ),
        input_example=example,
        pip_requirements=_requirements(module),
        serialization_format="pt2",
    )
    traced = torch.export.load(str(folder / "data" / "model.pt2")).module()
    with torch.no_grad():
        if not torch.allclose(traced(probe), logits, rtol=1e-4, atol=1e-5):
            raise ValueError("the traced model answers otherwise than the model itself")


def _requirements(module: nn.Module) -> list[str]:
    """Exact installed versions; inferring them costs seconds a model."""
    origins = {type(part).__module__.partition(".")[0] for part in module.modules()}
    packages = ["torch", "torchvision"] if "torchvision" in origins else ["torch"]
    return [f"{package}=={version(package).partition('+')[0]}" for package in packages]


def _create(
    client: MlflowClient, experiment_id: str, run_id: str, started: Started
) -> LoggedModel:
    params = {key: str(value) for key, value in started.params.items()}
    with durable(Step.MODEL_LOG):
        return client.create_logged_model(
            experiment_id, _NAME, source_run_id=run_id, params=params
        )


def _upload(
    client: MlflowClient, run_id: str, model: LoggedModel, card: Model, folder: Path
) -> None:
    """Put the files of ``folder`` into ``model``; may be repeated after a crash."""
    card.model_id = card.model_uuid = model.model_id
    card.artifact_path = model.artifact_location
    card.save(str(folder / "MLmodel"))
    with durable(Step.MODEL_LOG):
        client.log_model_artifacts(model.model_id, str(folder))
        outputs = client.get_run(run_id).outputs
        if outputs is None or model.model_id not in {m.model_id for m in outputs.model_outputs}:
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _log_weights(client: MlflowClient, run_id: str, started: Started, weights: Path) -> None:
    assert started.model is not None
    assert started.data is not None
    reference = {"model": asdict(started.model), "data": asdict(started.data)}
    with durable(Step.MODEL_LOG):
        client.log_artifact(run_id, str(weights), "weights")
        client.log_dict(run_id, reference, "weights/reference.json")
