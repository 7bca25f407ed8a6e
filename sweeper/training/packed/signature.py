"""Which trials may be members of one pack."""

from collections.abc import Hashable, Mapping

from sweeper.config.references import is_reference
from sweeper.config.settings import ModelConfig, TrainConfig, TrialConfig
from sweeper.models.build import BUILDERS, model_params
from sweeper.training.learner import Runtime
from sweeper.trial import DataInfo


def eager_reason(config: TrialConfig) -> str | None:
    """Which setting lets a trial be trained by itself, whatever its model; None if none does."""
    assert isinstance(config.train, TrainConfig)
    assert config.model is not None
    own = {"train.optimizer": config.train.optimizer, "train.loss": config.train.loss or ""}
    for key, value in own.items():
        if is_reference(value):
            return f"{key}: {value} is not among those that are computed for several trials"
    name = config.model.architecture
    if name not in BUILDERS and not is_reference(name):
        return f"model.architecture: {name} of torchvision is too large to gain by it"
    return None


def signature(config: TrialConfig, data: DataInfo, runtime: Runtime) -> Hashable:
    """Equal for trials whose batches are computed by the same calls.

    Rates, schedules, momenta, penalties, shares of dropout, smoothing, weights of classes,
    accumulation, augmentation and the activation of a built-in network may be others; whether
    there is momentum, dropout, mixing or averaging may not.

    Args:
        config: For which :func:`eager_reason` has none.
        data: What it trains on.
        runtime: Where.
    """
    settings = config.train
    assert isinstance(settings, TrainConfig)
    assert config.data is not None
    assert config.model is not None
    return (
        data,
        config.data.batch_size,
        config.model.architecture,
        tuple(sorted(_program_params(config.model).items())),
        settings.loss,
        settings.optimizer,
        settings.optimizer == "sgd" and (settings.momentum > 0, settings.nesterov),
        settings.mixup > 0,
        settings.ema > 0,
        runtime,
    )


def _program_params(model: ModelConfig) -> Mapping[str, str]:
    """Arguments that decide about the shapes and calls of a network."""
    if model.architecture not in BUILDERS:
        return {name: repr(value) for name, value in model.params.items()}
    params = model_params(model.architecture, model.params)
    params.pop("activation", None)
    if "dropout" in params:
        params["dropout"] = params["dropout"] > 0
    return {name: repr(value) for name, value in params.items()}
