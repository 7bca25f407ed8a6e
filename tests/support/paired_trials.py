"""A trial twice, in float64 on a CPU: alone, and as a member of a pack."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from sweeper.config.settings import BuiltInSchedule, ModelConfig, TrainConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.data.targets import count_rows
from sweeper.models.build import build_for
from sweeper.models.dropout import key_dropouts
from sweeper.training.augmentation import Augment, build_augmentation
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import EpochTotals, Learner, Runtime
from sweeper.training.losses import BinaryCrossEntropy, CrossEntropy, build_loss
from sweeper.training.metrics import build_metrics
from sweeper.training.optim import build_optimizer, parameter_groups
from sweeper.training.packed.member import Member
from sweeper.training.packed.pack import Pack
from sweeper.training.schedules import Schedule
from sweeper.trial import DataInfo, Task

CPU = torch.device("cpu")
#: The last one is shorter, as the last of an epoch.
SIZES = (8, 8, 8, 5)
N_ROWS = sum(SIZES)
MLP = ModelConfig(architecture="mlp", params={"width": 8, "depth": 1})


def rows_of(
    shape: tuple[int, ...] = (6,), *, task: Task = "classification", n_outputs: int = 3
) -> TrialData:
    """Random rows, whose targets are as random."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(N_ROWS, *shape, generator=generator, dtype=torch.float64)
    targets: Tensor = torch.randint(0, n_outputs, (N_ROWS,), generator=generator)
    mean: tuple[float, ...] = ()
    if task == "multilabel":
        targets = torch.rand(N_ROWS, n_outputs, generator=generator) < 0.3
    elif task == "regression":
        targets = torch.randn(N_ROWS, n_outputs, generator=generator, dtype=torch.float64)
        mean = (0.5,) * n_outputs
    info = DataInfo(
        "made",
        "0" * 16,
        shape,
        n_outputs,
        n_train=N_ROWS,
        n_validation=N_ROWS,
        task=task,
        target_mean=mean,
        target_std=tuple(2 * number for number in mean),
    )
    return data_of(info, inputs, targets)


def data_of(info: DataInfo, inputs: Tensor, targets: Tensor) -> TrialData:
    """Rows that are trained on and validated on."""
    rows = torch.arange(N_ROWS, device=inputs.device)
    split = ResidentSplit(inputs, targets, rows, None)
    return TrialData(info, split, split, count_rows(targets.cpu(), info.task, info.n_outputs))


@cache
def on_device(data: TrialData, device: torch.device) -> TrialData:
    """The same rows there, once for all trials on them."""
    [(inputs, targets)] = data.train.batches(N_ROWS)
    return data_of(data.info, inputs.to(device), targets.to(device))


def in_float32(data: TrialData) -> TrialData:
    """The same rows in single precision."""
    [(inputs, targets)] = data.train.batches(N_ROWS)
    return data_of(data.info, inputs.float(), targets)


def learner_of(
    data: TrialData,
    model: ModelConfig | nn.Module,
    settings: Mapping[str, Any],
    *,
    seed: int,
    dtype: torch.dtype = torch.float64,
    runtime: Runtime | None = None,
) -> EagerLearner:
    """As ``build_learner`` makes it, of another dtype."""
    runtime = runtime or Runtime(CPU)
    config = TrainConfig(**{"optimizer": "sgd", "learning_rate": 0.05, **settings})
    torch.manual_seed(seed)
    built = build_for(model, data.info) if isinstance(model, ModelConfig) else model
    if runtime.device.type == "cuda":
        key_dropouts(built)
    built.to(runtime.device, dtype)
    optimizer = build_optimizer(
        config.optimizer,
        parameter_groups(built, l2=config.l2),
        momentum=config.momentum,
        nesterov=config.nesterov,
    )
    loss = build_loss(config, data, runtime.device)
    if isinstance(loss, CrossEntropy | BinaryCrossEntropy) and loss.weights is not None:
        loss = replace(loss, weights=loss.weights.to(dtype))
    return EagerLearner(
        built,
        optimizer,
        loss=loss,
        metrics=build_metrics(data.info, None),
        schedule=Schedule(
            cast(BuiltInSchedule, config.schedule),
            peak=config.learning_rate,
            total_steps=40,
            warmup_steps=2,
        ),
        runtime=runtime,
        augment=_augmentation(config, data.info, dtype),
        l1=config.l1,
        clip_grad_norm=config.clip_grad_norm,
        accumulate=config.accumulate,
        ema=config.ema,
    )


def _augmentation(config: TrainConfig, data: DataInfo, dtype: torch.dtype) -> Augment | None:
    """Whose targets have the dtype of the outputs, as they have where that is float32."""
    augment = build_augmentation(config, data)
    if augment is None:
        return None

    def change(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = augment(inputs, targets)
        return inputs, targets.to(dtype) if targets.is_floating_point() else targets

    return change


class Pair:
    """A trial alone and the same trial as a member, which do the same.

    Args:
        pack: Of the member.
        data: Of the trial.
        model: Of the trial; a module is copied.
        settings: Keys of ``train``.
        seed: Of its weights and draws.
        form: Further arguments of :func:`learner_of`.
    """

    def __init__(
        self,
        pack: Pack,
        data: TrialData,
        model: ModelConfig | nn.Module = MLP,
        settings: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        **form: Any,
    ) -> None:
        def build() -> EagerLearner:
            return learner_of(data, copy.deepcopy(model), settings or {}, seed=seed, **form)

        self._build = build
        self._pack = pack
        self._seed = seed
        self._batches = list(data.train.batches(SIZES[0]))
        self._is_evaluating = False
        self.n_done = 0
        self.alone: Learner = build()
        self.member: Member = pack.join(build())

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """That comes next."""
        return self._batches[(self.n_done + self._seed) % len(self._batches)]

    def train(self) -> None:
        """Both are given a batch."""
        self.end_evaluation()
        for learner in (self.alone, self.member):
            torch.manual_seed(1000 * self._seed + self.n_done)
            learner.train([self.batch])
        self.n_done += 1

    def evaluate(self) -> None:
        """Both measure a batch."""
        self._is_evaluating = True
        for learner in (self.alone, self.member):
            learner.evaluate([self.batch])

    def end_training(self) -> None:
        """An epoch ends, and another begins."""
        self.end_evaluation()
        if self.alone.totals.n_batches:
            losses = [learner.end_training() for learner in (self.alone, self.member)]
            # Totals are float32.
            torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0, equal_nan=True)
            for learner in (self.alone, self.member):
                learner.totals = EpochTotals()

    def end_evaluation(self) -> None:
        """What both have measured is the same, if they have measured anything."""
        if not self._is_evaluating:
            return
        self._is_evaluating = False
        (first, measured), (second, own) = (
            learner.end_evaluation() for learner in (self.alone, self.member)
        )
        torch.testing.assert_close(second, first, rtol=1e-6, atol=0, equal_nan=True)
        torch.testing.assert_close(dict(own), dict(measured), rtol=1e-9, atol=0, equal_nan=True)

    def swap(self) -> None:
        """Each goes on from the checkpoint of the other; an evaluation is given up."""
        self._is_evaluating = False
        learners: tuple[Learner, Learner] = self.alone, self.member
        kept = [copy.deepcopy((each.state_dict(), each.totals)) for each in learners]
        self._pack.leave(self.member)
        self.alone, self.member = self._build(), self._pack.join(self._build())
        others: tuple[Learner, Learner] = self.member, self.alone
        for learner, (state, totals) in zip(others, kept, strict=True):
            learner.load_state_dict(state)
            learner.totals = totals

    def check(self, tolerance: float = 1e-12) -> None:
        """All that both hold is the same."""
        self.end_evaluation()
        assert_same_state(self.member.state_dict(), self.alone.state_dict(), tolerance)
        assert_same_state(self.member.weights(), self.alone.weights(), tolerance)
        assert self.member.totals.n_samples == self.alone.totals.n_samples
        assert self.member.totals.n_batches == self.alone.totals.n_batches
        assert self.member.learning_rate == self.alone.learning_rate


def assert_same_state(own: Any, other: Any, tolerance: float) -> None:
    """Tensors are within a tolerance of the largest number, all else is equal."""
    if isinstance(other, Tensor):
        assert own.dtype == other.dtype
        own, other = own.cpu(), other.cpu()
        scale = other.double().abs().nan_to_num().max().item() if other.numel() else 0.0
        torch.testing.assert_close(
            own.double(), other.double(), rtol=0, atol=tolerance * (1 + scale), equal_nan=True
        )
    elif isinstance(other, dict):
        assert own.keys() == other.keys()
        for key, value in other.items():
            assert_same_state(own[key], value, tolerance)
    elif isinstance(other, list | tuple):
        for first, second in zip(own, other, strict=True):
            assert_same_state(first, second, tolerance)
    else:
        assert own == other


def train_pairs(pack: Pack, pairs: Sequence[Pair], n: int) -> None:
    """So many batches each."""
    for _ in range(n):
        for pair in pairs:
            pair.train()
        pack.step()


def evaluate_pairs(pack: Pack, pairs: Sequence[Pair]) -> None:
    """A batch each, measured alike."""
    for pair in pairs:
        pair.evaluate()
    pack.step()
    for pair in pairs:
        pair.end_evaluation()
