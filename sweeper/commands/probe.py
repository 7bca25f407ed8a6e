"""One model tried out before any trial: what it needs, a batch through it, an update's time."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from sweeper.config.references import is_reference, split_reference
from sweeper.config.settings import (
    FunctionConfig,
    ModelConfig,
    Precision,
    TrainConfig,
    TrialConfig,
)
from sweeper.config.study import StudySpec
from sweeper.data.dataset import TrialData
from sweeper.errors import (
    SweeperError,
    TrainingError,
    TrialDiverged,
    TrialInterrupted,
    TrialPruned,
)
from sweeper.models.build import (
    BUILDERS,
    build_for,
    check_model,
    check_outputs,
    line_of,
    torch_dtype,
)
from sweeper.study.failures import failure_kind, meaning
from sweeper.text import format_values
from sweeper.training.augmentation import build_augmentation
from sweeper.training.build import build_learner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.training.losses import build_loss
from sweeper.training.metrics import metric_names, require_measured
from sweeper.trial import DataInfo, EpochMetrics, FailureKind, Objective
from sweeper.workers.devices import Placement
from sweeper.workers.memory import available_memory
from sweeper.workers.scratch import run_scratch_trial

log = logging.getLogger("sweeper")

_GIB = 2**30
#: So long check waits for the first report of a function or a program.
_CALL_S = 60
#: Each precision is measured so often, for about so long.
_TURNS, _TURN_S = 5, 0.05


@dataclass(frozen=True)
class Footprint:
    """What a training step of a model needs at least.

    Attributes:
        n_weights: Numbers that are trained.
        n_bytes: Of weights, their gradients, and what one batch leaves for the backward pass.
    """

    n_weights: int
    n_bytes: int


def measure_model(model: ModelConfig, data: DataInfo, n_rows: int) -> Footprint:
    """Build a model, send two blank samples through it, and see that a batch fits this machine.

    A built-in model takes no memory for it, however big it is.

    Args:
        model: What to build.
        data: What it is to take.
        n_rows: Of a batch.

    Raises:
        TrainingError: If the model cannot be built or fed, or does not fit.
        SpecError: If the user's builder cannot be imported.
    """
    shapes, dtype = (data.input_shape, data.n_outputs), torch_dtype(data.input_dtype)
    is_built_in = model.architecture in BUILDERS
    with _blamed_on(model), torch.device("meta") if is_built_in else nullcontext():
        net = build_for(model, data)
        check_model(net, *shapes, dtype)
        activations = _saved_bytes(net, torch.zeros(2, *shapes[0], dtype=dtype), shapes[1]) // 2
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    n_bytes = 2 * sum(weight.nbytes for weight in weights) + activations * n_rows
    if n_bytes > (available := available_memory()):
        raise TrainingError(
            f"model.architecture: {model.architecture} needs {n_bytes / _GIB:,.1f} GiB at least, "
            f"for weights, gradients and a batch of {n_rows}; this job can have "
            f"{available / _GIB:,.1f}: make the model smaller, or data.batch_size"
        )
    return Footprint(sum(weight.numel() for weight in weights), n_bytes)


def try_own_training(
    spec: StudySpec, config: TrialConfig, placement: Placement, *, cache_dir: Path
) -> str:
    """Let a function or a program run up to its first report, in a trial that is of no study.

    Returns:
        What came of it, in words.

    Raises:
        TrainingError: If it raises, or ends without a report.
    """
    assert not isinstance(config.train, TrainConfig)
    reported: list[EpochMetrics] = []
    begun = time.perf_counter()
    try:
        with _no_longer_than(_CALL_S):
            run_scratch_trial(
                spec, config, placement, cache_dir=cache_dir, show=reported.append, n_reports=1
            )
    except TrialInterrupted:
        pass
    except (TrialPruned, TrialDiverged) as signal_:
        return f"ended itself: {type(signal_).__name__}: {signal_}"
    except SweeperError:
        raise
    except (Exception, SystemExit) as exc:
        if state := meaning(exc):
            return f"ended itself as {state}: {type(exc).__name__}: {exc}"
        assert isinstance(config.train, FunctionConfig)
        name = config.train.function
        raise TrainingError(
            f"{name} raised {type(exc).__name__}: {exc}{_origin(name, exc)}"
        ) from exc
    if not reported:
        return f"has reported nothing in {_CALL_S} s, and check waits no longer"
    values = format_values(reported[0].values, 5)
    return f"reported {values} in {time.perf_counter() - begun:.2g} s, and was ended there"


@contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    """End what runs too long; only a main thread can."""

    def end(*_: object) -> None:
        raise TrialInterrupted(f"nothing in {seconds} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_objective(config: TrialConfig, data: DataInfo, objective: Objective) -> None:
    """See that the objective is measured, as far as that is known before any epoch.

    Raises:
        TrainingError: If it is not.
    """
    assert isinstance(config.train, TrainConfig)
    if config.train.metrics is None:
        require_measured(objective, data, metric_names(data))


def check_training(config: TrialConfig, data: TrialData) -> None:
    """See that every setting of ``train`` means something for the data.

    Raises:
        TrainingError: If one does not.
    """
    assert isinstance(config.train, TrainConfig)
    build_loss(config.train, data, torch.device("cpu"))
    build_augmentation(config.train, data.info)


def try_batch(
    config: TrialConfig, data: TrialData, batch: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Build a trial's learner and train it on a batch; its loss, and the seconds of the update.

    Raises:
        TrainingError: If a part of it cannot be built or cannot take the batch, or a setting
            means nothing for such data.
    """
    assert config.model is not None
    with _blamed_on(config.model):
        learner = build_learner(config, data, Runtime(batch[0].device))
        begun = time.perf_counter()
        loss = train_epoch(learner, [batch])
    return loss, time.perf_counter() - begun


def time_updates(
    config: TrialConfig, data: TrialData, placement: Placement, precisions: Sequence[Precision]
) -> dict[Precision, list[float]]:
    """Seconds of an update of the same batch in each precision, as a worker would do it.

    Args:
        config: Of a trial.
        data: On the CPU.
        placement: Of a worker.
        precisions: The first is the study's. Another that the model cannot take is left out.

    Returns:
        Of each turn; in a turn the precisions come one after the other, so that what else the
        machine does slows all of them.

    Raises:
        TrainingError: If the model cannot be built, or cannot take the batch.
    """
    assert config.data is not None
    assert config.model is not None
    device = torch.device(placement.device)
    inputs, targets = next(data.train.batches(config.data.batch_size))
    batch = inputs.to(device), targets.to(device)

    def time_turn(runtime: Runtime, n_updates: int) -> float:
        runtime.set_float32()
        begun = time.perf_counter()
        train_epoch(learners[runtime.precision], [batch] * n_updates)  # ends by reading the loss
        return (time.perf_counter() - begun) / n_updates

    learners, turns = {}, {}
    with _blamed_on(config.model), _threads(placement.n_threads):
        for runtime in (Runtime(device, precision) for precision in precisions):
            try:
                learners[runtime.precision] = build_learner(config, data, runtime)
                time_turn(runtime, 1)  # kernels are chosen at the first update
                turns[runtime] = max(1, int(_TURN_S / time_turn(runtime, 1)))
            except Exception as exc:
                if runtime.precision == precisions[0]:
                    raise
                name = config.model.architecture
                log.info("%s does not compute in %s: %s", name, runtime.precision, exc)
        seconds = [{r.precision: time_turn(r, n) for r, n in turns.items()} for _ in range(_TURNS)]
    return {precision: [turn[precision] for turn in seconds] for precision in seconds[0]}


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _saved_bytes(net: nn.Module, inputs: Tensor, n_outputs: int) -> int:
    """Bytes that the forward pass keeps for the backward pass, those of the weights apart.

    The model is in training mode, in which it may return something else than in eval mode.
    """
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)  # alive, so that no other storage takes its address
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = net.train()(inputs)
    check_outputs(net, output, n_outputs)
    sizes = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in [*saved, output]
    }
    for parameter in net.parameters():
        sizes.pop(parameter.untyped_storage()._cdata, None)
    return sum(sizes.values())


@contextmanager
def _blamed_on(model: ModelConfig) -> Iterator[None]:
    """Exceptions of code that is not ours as a :class:`TrainingError` with their place."""
    name = model.architecture
    try:
        yield
    except SweeperError:
        raise
    except (Exception, SystemExit) as exc:
        is_expected = failure_kind(exc) == FailureKind.OUT_OF_MEMORY
        is_expected |= isinstance(exc, ValueError)  # torch cannot normalise a batch of one row
        if name in BUILDERS and not is_expected:
            raise
        raise TrainingError(
            f"model.architecture: {name} raised {type(exc).__name__}: {exc}{_origin(name, exc)}"
        ) from exc


def _origin(name: str, exc: BaseException) -> str:
    """Where in the user's own file it was raised; nothing for a model of torchvision."""
    line = line_of(split_reference(name)[0], exc) if is_reference(name) else ""
    return f" ({line})" if line else ""
