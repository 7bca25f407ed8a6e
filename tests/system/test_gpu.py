"""What can only be seen on a GPU: where data lie, that nothing waits, which numbers are used."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sweeper.config.settings import DataConfig, ModelConfig, Precision, TrainConfig, TrialConfig
from sweeper.data.batches import LoaderSplit, ResidentSplit, Split
from sweeper.data.dataset import TrialData, load_data
from sweeper.data.order import Shuffle
from sweeper.training.build import build_learner
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Learner, Runtime, train_epoch
from sweeper.training.losses import CrossEntropy
from sweeper.training.metrics import ClassificationMetrics
from sweeper.training.optim import build_optimizer, parameter_groups
from sweeper.training.schedules import Schedule
from sweeper.trial import DataInfo
from sweeper.workers.devices import known_precisions
from sweeper.workers.memory import resident_limit
from tests.support.data_files import IMAGES, LABELS, write_mnist
from tests.support.models import evaluate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
needs_tf32 = pytest.mark.skipif(
    not torch.cuda.is_available() or "tf32" not in known_precisions("cuda:0"),
    reason="this machine has no GPU that knows tf32",
)
CUDA = torch.device("cuda:0")
CNN = ModelConfig(architecture="cnn", params={"channels": 4, "batch_norm": True, "dropout": 0.3})
MLP = ModelConfig(architecture="mlp", params={"width": 16, "dropout": 0.3})


class Rows(Dataset[tuple[Tensor, int]]):
    """A user's rows, made one by one on the host."""

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.full((1, 8, 8), row / 64), row % 3


@pytest.fixture
def mnist(tmp_path: Path) -> DataConfig:
    """Twelve images of 4 x 4 pixels in three classes."""
    write_mnist(tmp_path / "files")
    return DataConfig(name="mnist", root=str(tmp_path / "files"), validation=0.25, batch_size=2)


def load(
    config: DataConfig, folder: Path, *, device: torch.device = CUDA, resident_bytes: int = 2**30
) -> TrialData:
    cache_dir = folder / "cache"
    return load_data(
        config, cache_dir=cache_dir, seed=0, device=device, resident_bytes=resident_bytes
    )


def rows_made_one_by_one() -> TrialData:
    info = DataInfo("rows", "0" * 16, (1, 8, 8), 3, n_train=48, n_validation=16)
    parts = torch.arange(48), torch.arange(48, 64)
    train, validation = (LoaderSplit(Rows(), rows, None, device=CUDA) for rows in parts)
    return TrialData(info, train, validation)


def learner_on(data: TrialData, model: ModelConfig, **train: Any) -> EagerLearner:
    config = TrialConfig(
        params={},
        data=DataConfig(name=data.info.name),
        model=model,
        train=TrainConfig(**train),
        seed=0,
    )
    return build_learner(config, data, Runtime(CUDA))


def unsynchronised(
    split: Split, batch_size: int, shuffle: Shuffle | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, between whose first and last whatever waits for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield from split.batches(batch_size, shuffle=shuffle)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def train_and_evaluate_unsynchronised(data: TrialData, learner: Learner, batch_size: int) -> None:
    shuffle = Shuffle(0)
    train_epoch(learner, data.train.batches(batch_size, shuffle=shuffle))  # kernels are chosen
    evaluate(learner, data.validation.batches(batch_size))
    train_epoch(learner, unsynchronised(data.train, batch_size, shuffle))
    evaluate(learner, unsynchronised(data.validation, batch_size, None))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_nothing_in_an_epoch_waits_for_the_device(
    mnist: DataConfig, tmp_path: Path, model: ModelConfig, optimizer: str
) -> None:
    data = load(mnist, tmp_path)
    penalties: dict[str, Any] = {"l1": 1e-4, "l2": 1e-4, "clip_grad_norm": 1.0}
    changes: dict[str, Any] = {"random_crop": 1, "random_flip": True, "cutout": 1}
    changes |= {"color_jitter": 0.2, "mixup": 0.2}
    learner = learner_on(data, model, optimizer=optimizer, **penalties, **changes)
    train_and_evaluate_unsynchronised(data, learner, mnist.batch_size)


def test_rows_that_do_not_fit_come_pinned_and_nothing_waits(
    mnist: DataConfig, tmp_path: Path
) -> None:
    for data in (load(mnist, tmp_path, resident_bytes=0), rows_made_one_by_one()):
        assert isinstance(data.train, LoaderSplit)
        train_and_evaluate_unsynchronised(data, learner_on(data, CNN), 2)


def test_resident_data_lie_on_the_device_as_bytes(tmp_path: Path) -> None:
    images, labels = np.tile(IMAGES, (250, 1, 1)), np.tile(LABELS, 250)
    write_mnist(tmp_path, images, labels)
    before = torch.cuda.memory_allocated(CUDA)
    data = load(DataConfig(name="mnist", root=str(tmp_path)), tmp_path)
    assert isinstance(data.train, ResidentSplit)
    # 3,000 rows: 48,000 bytes of inputs, 24,000 each of targets and of the splits' rows; the
    # inputs as float32 would be 192,000.
    assert torch.cuda.memory_allocated(CUDA) - before < 120_000
    for inputs, targets in data.train.batches(64, shuffle=Shuffle(0)):
        assert inputs.device == targets.device == CUDA
        assert inputs.dtype == torch.float32


def test_batches_are_those_of_a_cpu(mnist: DataConfig, tmp_path: Path) -> None:
    cpu = load(mnist, tmp_path, device=torch.device("cpu"))
    wanted = list(cpu.train.batches(2, shuffle=Shuffle(3)))
    for resident_bytes in (2**30, 0):
        split = load(mnist, tmp_path, resident_bytes=resident_bytes).train
        came = list(split.batches(2, shuffle=Shuffle(3)))
        for (inputs, targets), (cpu_inputs, cpu_targets) in zip(came, wanted, strict=True):
            assert torch.equal(targets.cpu(), cpu_targets)
            torch.testing.assert_close(inputs.cpu(), cpu_inputs, rtol=0, atol=1e-6)


def test_workers_that_share_a_gpu_share_its_memory() -> None:
    memory = torch.cuda.get_device_properties(CUDA).total_memory
    assert resident_limit(CUDA) == memory // 2
    assert resident_limit(CUDA, 3) == memory // 6


@torch.no_grad()
def relative_error(precision: Precision, model: nn.Module, inputs: Tensor) -> float:
    """Of what a learner's model computes, beside float64."""
    optimizer = build_optimizer(
        "sgd", parameter_groups(model, l2=0.0), momentum=0.0, nesterov=False
    )
    schedule = Schedule("constant", peak=0.1, total_steps=1)
    learner = EagerLearner(
        model,
        optimizer,
        loss=CrossEntropy(None, smoothing=0.0),
        metrics=lambda: ClassificationMetrics(2),
        schedule=schedule,
        runtime=Runtime(CUDA, precision),
    )
    came = learner.model(inputs).double()
    exact = copy.deepcopy(model).double()(inputs.double())
    return float((came - exact).norm() / exact.norm())


@needs_tf32
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_fp32_is_fp32_and_tf32_is_tf32(kind: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = nn.Linear(512, 512) if kind == "linear" else nn.Conv2d(64, 64, 3)
    inputs = torch.randn(64, 512) if kind == "linear" else torch.randn(16, 64, 16, 16)
    model, inputs = model.to(CUDA), inputs.to(CUDA)
    # Factors have 24 bits in float32 and 11 in tf32: errors of some 1e-7 and 3e-4.
    assert relative_error("fp32", model, inputs) < 5e-6
    assert 5e-5 < relative_error("tf32", model, inputs) < 5e-3
    assert relative_error("fp32", model, inputs) < 5e-6
