"""In float32, twenty trials in a pack end as the same twenty alone do, but for rounding."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.training.build import BuildLearner, build_learner
from sweeper.training.learner import Runtime
from sweeper.training.loop import drive, training
from sweeper.training.packed.packs import Packs
from sweeper.trial import DataInfo, Objective
from tests.support.paired_trials import CPU
from tests.support.recorder import Recorder

SEEDS = range(20)
EPOCHS, BATCH_SIZE, N_ROWS = 6, 32, 128
LOSSES = ("train_loss", "val_loss")
#: By so many standard errors, of twenty pairs, a mean may differ from zero: right ones are
#: beyond once in 1,300 times. The numbers are those of the seeds, so on one machine it is never
#: or always.
N_ERRORS = 4.0
#: What float32 rounds, of the largest number.
ROUNDING = 1e-6
#: Of what seeds make trials differ by, that much company may.
SHARE = 0.1
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"width": 32, "depth": 1, "dropout": 0.3},
    "cnn": {"channels": 4, "depth": 1, "dropout": 0.2, "batch_norm": True},
}


@cache
def blobs() -> TrialData:
    """Noise around a picture for each class, so much that none is always right."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(10, 1, 8, 8, generator=generator)
    targets = torch.randint(0, 10, (2 * N_ROWS,), generator=generator)
    inputs = centres[targets] + 2 * torch.randn(2 * N_ROWS, 1, 8, 8, generator=generator)
    info = DataInfo("blobs", "0" * 16, (1, 8, 8), 10, n_train=N_ROWS, n_validation=N_ROWS)
    train, validation = (
        ResidentSplit(inputs, targets, rows, None)
        for rows in torch.arange(2 * N_ROWS).split(N_ROWS)
    )
    return TrialData(info, train, validation)


def trials(name: str, rate: float = 0.003) -> list[TrialConfig]:
    settings = TrainConfig(epochs=EPOCHS, optimizer="adamw", learning_rate=rate, l2=0.01)
    config = TrialConfig(
        params={},
        data=DataConfig(name="blobs", batch_size=BATCH_SIZE),
        model=ModelConfig(architecture=name, params=MODELS[name]),
        train=settings,
        seed=0,
        draws="batch",
    )
    return [replace(config, seed=seed) for seed in SEEDS]


def training_of(
    config: TrialConfig, reporter: Recorder, folder: Path, build: BuildLearner = build_learner
) -> Any:
    return training(
        config,
        blobs(),
        objective=Objective(("val_loss",), ("minimize",)),
        runtime=Runtime(CPU),
        reporter=reporter,
        checkpoint=folder / "checkpoint.pt",
        build=build,
        save_every_s=math.inf,
    )


def train_alone(configs: Sequence[TrialConfig], folder: Path) -> list[Recorder]:
    reporters = [Recorder() for _ in configs]
    for config, reporter in zip(configs, reporters, strict=True):
        drive(training_of(config, reporter, folder))
    return reporters


def train_packed(configs: Sequence[TrialConfig], folder: Path) -> list[Recorder]:
    packs, reporters = Packs(len(configs), pytest.fail), [Recorder() for _ in configs]
    at_work = {
        number: training_of(config, reporters[number], folder, partial(packs.build, name=number))
        for number, config in enumerate(configs)
    }
    n_together = 0
    while at_work:
        for number, steps in list(at_work.items()):
            if next(steps, at_work) is at_work:
                del at_work[number]
        for pack in packs.at_work:
            n_together = max(n_together, len(pack.names_at_work))
            pack.step()
    assert n_together == len(configs)
    return reporters


def last(reporters: Sequence[Recorder], metric: str) -> Tensor:
    return torch.tensor([r.history[-1].values[metric] for r in reporters], dtype=torch.float64)


def differs_from_zero(values: Tensor, scale: float) -> bool:
    """Whether the mean does, by more than chance and rounding explain."""
    error = values.std().item() / math.sqrt(len(values))
    return abs(values.mean().item()) > N_ERRORS * error + ROUNDING * scale


def faults(packed: Sequence[Recorder], alone: Sequence[Recorder]) -> list[str]:
    """What the two do not have in common."""
    found = []
    for metric in (*LOSSES, "val_accuracy"):
        own, other = last(packed, metric), last(alone, metric)
        difference, scale = own - other, other.abs().max().item()
        if differs_from_zero(difference, scale):
            found.append(f"the mean of {metric}")
        # Their mean is what the variances differ by.
        products = (own + other - (own + other).mean()) * (difference - difference.mean())
        if differs_from_zero(products, scale**2):
            found.append(f"the spread of {metric}")
        if metric in LOSSES and difference.abs().max() > SHARE * other.std():
            found.append(f"{metric} of a trial")
    return found


@pytest.fixture(scope="module", params=MODELS)
def alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[Recorder]]:
    """The name of a model, and what its trials come to."""
    return request.param, train_alone(trials(request.param), tmp_path_factory.mktemp("alone"))


def test_in_a_pack_they_come_of_one_distribution_with_those_alone(
    alone: tuple[str, list[Recorder]], tmp_path: Path
) -> None:
    name, reporters = alone
    assert faults(train_packed(trials(name), tmp_path), reporters) == []
    assert last(reporters, "val_loss").std() > 0.01  # seeds make a difference


@pytest.mark.parametrize("alone", ["mlp"], indirect=True)
def test_a_rate_that_is_a_tenth_off_is_seen_be_it_of_all_or_of_one(
    alone: tuple[str, list[Recorder]], tmp_path: Path
) -> None:
    name, reporters = alone
    off = trials(name, rate=0.0033)
    of_all = faults(train_packed(off, tmp_path), reporters)
    assert {"the mean of train_loss", "the mean of val_loss"} <= set(of_all)
    of_one = faults(train_packed([off[0], *trials(name)[1:]], tmp_path), reporters)
    assert {f"{loss} of a trial" for loss in LOSSES} <= set(of_one)
