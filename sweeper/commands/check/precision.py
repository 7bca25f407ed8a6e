"""How fast a model trains in each precision, and whether another one is to be proposed."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch

from sweeper.commands.check.model import blamed_on
from sweeper.config.settings import Precision, TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.training.build import build_learner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.workers.devices import Placement, known_precisions

log = logging.getLogger("sweeper")

#: Each precision is measured so often, for about so long.
_TURNS, _TURN_S = 5, 0.05
#: So many times as fast a precision must be, whenever it was timed, to be worth other numbers.
_CLEARLY_FASTER = 1.2
#: On a CPU a shorter update is hardly arithmetic.
_LEAST_UPDATE_S = 1e-3

#: Precision -> seconds of an update in it, turn by turn.
Timed = Mapping[Precision, Sequence[float]]


def time_updates(
    config: TrialConfig, data: TrialData, placement: Placement, own: Precision
) -> Timed:
    """Seconds of an update of the same batch in each precision, as a worker would do it.

    Args:
        config: Of a trial.
        data: On the CPU.
        placement: Of a worker, with the device that is tried.
        own: The study's precision, which comes first. Another that the model cannot take is left
            out; without another that the device has units for nothing is timed.

    Returns:
        Of each turn; in a turn the precisions come one after the other, so that what else the
        machine does slows all of them.

    Raises:
        TrainingError: If the model cannot be built, or cannot take the batch.
    """
    assert config.data is not None
    assert config.model is not None
    precisions = list(dict.fromkeys((own, *known_precisions(placement.device))))
    if len(precisions) == 1:
        return {}
    device = torch.device(placement.device)
    inputs, targets = next(data.train.batches(config.data.batch_size))
    batch = inputs.to(device), targets.to(device)

    def time_turn(runtime: Runtime, n_updates: int) -> float:
        runtime.set_float32()
        begun = time.perf_counter()
        train_epoch(learners[runtime.precision], [batch] * n_updates)  # ends by reading the loss
        return (time.perf_counter() - begun) / n_updates

    learners, turns = {}, {}
    with blamed_on(config.model), _threads(placement.n_threads):
        for runtime in (Runtime(device, precision) for precision in precisions):
            try:
                learners[runtime.precision] = build_learner(config, data, runtime)
                time_turn(runtime, 1)  # kernels are chosen at the first update
                turns[runtime] = max(1, int(_TURN_S / time_turn(runtime, 1)))
            except Exception as exc:
                if runtime.precision == own:
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


def tell_times(model: str, seconds: Timed, device: str) -> str:
    """The median update of a model in each precision."""
    times = ", ".join(f"{median(s) * 1e3:.3g} ms in {name}" for name, s in seconds.items())
    return f"an update of {model} on {device} takes {times}"


def propose_precision(own: Precision, timed: Sequence[Timed], device: str) -> str:
    """Another precision if all architectures together are clearly faster in it, or nothing.

    Args:
        own: Of the study.
        timed: Of each architecture.
        device: That they were timed on.
    """
    in_all = [name for name in timed[0] if all(name in s for s in timed)] if timed else []
    totals = {name: np.sum([seconds[name] for seconds in timed], axis=0) for name in in_all}
    best = min(totals, key=lambda name: median(totals[name]), default=own)
    if best == own or device == "cpu" and median(totals[own]) < _LEAST_UPDATE_S * len(timed):
        return ""
    gains = totals[own] / totals[best]
    if min(gains) < _CLEARLY_FASTER:
        return ""
    return (
        f"proposed: `run: {{precision: {best}}}`, measured {median(gains):.1f} x as "
        f"fast as {own}; it rounds differently, so it is never taken by itself"
    )
