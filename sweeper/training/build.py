"""A trial's settings -> its learner, before the first update."""

from math import ceil
from typing import Protocol, cast

from torch import nn

from sweeper.config.references import is_reference
from sweeper.config.settings import BuiltInSchedule, TrainConfig, TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.errors import TrainingError
from sweeper.models.build import build_for, check_model, torch_dtype
from sweeper.models.dropout import key_dropouts
from sweeper.models.forms import check_inputs
from sweeper.models.pretrained import Pretrained
from sweeper.training.augmentation import build_augmentation
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Learner, Runtime
from sweeper.training.losses import build_loss
from sweeper.training.metrics import build_metrics
from sweeper.training.optim import Optimizer, build_optimizer, parameter_groups
from sweeper.training.own_optimizer import OwnOptimizer
from sweeper.training.schedules import OwnSchedule, Rates, Schedule


class BuildLearner(Protocol):
    """As :func:`build_learner`, whatever the learner."""

    def __call__(
        self, config: TrialConfig, data: TrialData, runtime: Runtime, *, is_resumed: bool = False
    ) -> Learner:
        """A trial's learner, before its first update."""


def build_learner(
    config: TrialConfig, data: TrialData, runtime: Runtime, *, is_resumed: bool = False
) -> EagerLearner:
    """A trial's model, before its first update, from the state of torch's random generator.

    Args:
        config: With data, a model and a :class:`~sweeper.config.settings.TrainConfig`.
        data: Of which only the form counts.
        runtime: Where and with which numbers to compute.
        is_resumed: Whether a checkpoint will say what its weights are, so that pretrained ones are
            not asked for.

    Raises:
        DataError: If the architecture can mean nothing by such inputs.
        TrainingError: If the model cannot be built or fed, or a setting contradicts another.
    """
    settings = config.train
    assert isinstance(settings, TrainConfig)
    assert config.data is not None
    assert config.model is not None
    shapes = data.info.input_shape, data.info.n_outputs
    check_inputs(config.model.architecture, data.info)
    model = build_for(config.model, data.info)
    if isinstance(model, Pretrained) and not is_resumed:
        model.load()
    if config.draws == "batch" and runtime.device.type == "cuda":
        key_dropouts(model)
    model.to(runtime.device)
    check_model(model, *shapes, torch_dtype(data.info.input_dtype))
    return EagerLearner(
        model,
        _build_optimizer(settings, model),
        loss=build_loss(settings, data, runtime.device),
        metrics=build_metrics(data.info, settings.metrics),
        schedule=_build_schedule(settings, data.train.n_rows, config.data.batch_size),
        runtime=runtime,
        augment=build_augmentation(settings, data.info),
        l1=settings.l1,
        clip_grad_norm=settings.clip_grad_norm,
        accumulate=settings.accumulate,
        ema=settings.ema,
    )


def _build_optimizer(settings: TrainConfig, model: nn.Module) -> Optimizer | OwnOptimizer:
    groups = parameter_groups(model, l2=settings.l2, backbone_rate=settings.backbone_rate)
    if is_reference(settings.optimizer):
        return OwnOptimizer(settings.optimizer, groups, learning_rate=settings.learning_rate)
    return build_optimizer(
        settings.optimizer, groups, momentum=settings.momentum, nesterov=settings.nesterov
    )


def _build_schedule(settings: TrainConfig, n_rows: int, batch_size: int) -> Rates:
    if settings.warmup_epochs >= settings.epochs:
        raise TrainingError(
            f"train.warmup_epochs: must be < train.epochs={settings.epochs}, "
            f"got {settings.warmup_epochs}"
        )
    full, rest = divmod(n_rows, batch_size)
    n_batches = full + (rest > 1 or not full)  # a Split drops a last batch of one row
    steps_per_epoch = ceil(n_batches / settings.accumulate)
    total_steps = settings.epochs * steps_per_epoch
    warmup_steps = int(settings.warmup_epochs * steps_per_epoch)
    if is_reference(settings.schedule):
        return OwnSchedule(
            settings.schedule,
            peak=settings.learning_rate,
            total_steps=total_steps,
            warmup_steps=warmup_steps,
        )
    return Schedule(
        cast(BuiltInSchedule, settings.schedule),
        peak=settings.learning_rate,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        drop_steps=settings.step_epochs * steps_per_epoch,
        drop_factor=settings.step_gamma,
    )
