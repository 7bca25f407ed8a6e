"""``sweeper check``: everything that a run would do, up to one batch."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from sweeper.commands.prepare import PreparedStudy, placed, prepare_study
from sweeper.commands.tried_settings import (
    ARCHITECTURE,
    architectures_of,
    first_settings,
    largest_settings,
    settings_of_own_code,
)
from sweeper.commands.warm_start import preview_warm_start
from sweeper.config.grid import count_goal, count_settings, explain_goal
from sweeper.config.settings import FunctionConfig, Precision, TrainConfig, TrialConfig
from sweeper.config.space import is_forbidden
from sweeper.config.study import StudySpec
from sweeper.errors import SweeperError
from sweeper.study.pruners import epochs_of, explain_pruner
from sweeper.study.samplers.auto import choose_sampler
from sweeper.study.storage.preflight import check_writable
from sweeper.text import format_count
from sweeper.workers.devices import Placement, join_names, known_precisions, place_workers
from sweeper.workers.gpus import keep_to_own_gpus
from sweeper.workers.memory import resident_limit
from sweeper.workers.versions import check_torch_pair

if TYPE_CHECKING:
    from sweeper.commands.probe import Footprint
    from sweeper.data.dataset import TrialData

#: More are as good as endless to a study.
_MOST_SETTINGS = 1_000_000
#: So many times as fast a precision must be, whenever it was timed, to be worth other numbers.
_CLEARLY_FASTER = 1.2
#: On a CPU a shorter update is hardly arithmetic.
_LEAST_UPDATE_S = 1e-3


def check_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> Iterator[str]:
    """Prepare the data, run a batch through every architecture; a line for each.

    The first value of every range is tried so, and timed in each precision that the device has
    units for; then each piece of the user's own code that a range names. Of the largest values
    it is seen that the model can be built and that a batch fits into memory.

    Raises:
        SweeperError: If a run of the study would not get as far.
    """
    keep_to_own_gpus()
    check_torch_pair()
    prepared = prepare_study(spec, root, note)
    spec = prepared.spec
    check_writable(spec, prepared.paths)
    yield from _tell_search(spec, root)
    placements = place_workers(spec)
    yield _tell_workers(spec, placements)
    here = replace(placements[0], device=placements[0].devices[0])  # this process sees all GPUs
    timed: list[Mapping[Precision, Sequence[float]]] = []
    told: set[str] = set()
    architectures = architectures_of(spec)
    for architecture in architectures:
        first = first_settings(spec, architecture)
        if not isinstance(first.train, TrainConfig):
            yield _try_own_training(prepared, first, placements[0])
            continue
        yield from _new_lines(_try_batch(prepared, first), told)
        if seconds := _time_precisions(prepared, first, here):
            timed.append(seconds)
            yield _tell_times(first, seconds, here)
        largest = largest_settings(spec, architecture)
        is_drawn = not is_forbidden(spec, largest.params)
        if is_drawn and largest.train != first.train:
            _try_training(prepared, largest)
        if is_drawn and (largest.model, largest.data) != (first.model, first.data):
            yield _try_size(prepared, largest)
    for config in settings_of_own_code(spec, architectures):
        deque(_try_batch(prepared, config), maxlen=0)
    if proposal := propose_precision(spec.run.precision, timed, here.device):
        yield proposal
    yield f"ready: {spec.command('run')}"


def _tell_search(spec: StudySpec, root: Path) -> Iterator[str]:
    """What is searched, and what decides how."""
    sampler, why = choose_sampler(spec)
    n_trials = format_count(count_goal(spec), "trial")
    n_ranges = format_count(len(spec.ranges()), "range")
    yield f"{spec.path}: study {spec.name}, {n_trials}, {n_ranges}"
    yield from _tell_settings(spec)
    yield f"sampler {sampler}: {why}"
    if warm := preview_warm_start(spec, root):
        yield f"warm start: {warm.explain(sampler)}"
    pruner = explain_pruner(spec.pruner, epochs_of(spec))
    yield f"pruner {pruner.name}: {pruner.why}"


def _tell_workers(spec: StudySpec, placements: Sequence[Placement]) -> str:
    where = ", ".join(dict.fromkeys(join_names(place.devices) for place in placements))
    n_threads = format_count(placements[0].n_threads, "thread")
    line = f"{format_count(len(placements), 'worker')} on {where}, {n_threads} each"
    return line + placements[0].lanes.explain()


def _new_lines(lines: Iterator[str], told: set[str]) -> Iterator[str]:
    """But for what was told already, as architectures learn from the same data."""
    for line in lines:
        if line not in told:
            told.add(line)
            yield line


def _tell_settings(spec: StudySpec) -> Iterator[str]:
    """How many settings there are, if few enough to matter, and what the goal is for that."""
    n_settings = count_settings(spec, _MOST_SETTINGS)
    if reason := explain_goal(spec):
        yield reason
    elif spec.ranges() and n_settings < _MOST_SETTINGS:
        yield f"the space has {format_count(n_settings, 'setting')}"


def _try_own_training(prepared: PreparedStudy, config: TrialConfig, placement: Placement) -> str:
    from sweeper.commands.probe import try_own_training

    key = "function" if isinstance(config.train, FunctionConfig) else "command"
    with _placed(prepared.spec, config, f"train.{key}"):
        said = try_own_training(
            prepared.spec, config, placement, cache_dir=prepared.paths.cache_dir
        )
    name = f" {config.train.function}" if isinstance(config.train, FunctionConfig) else ""
    return f"train.{key}{name} {said}"


def _try_batch(prepared: PreparedStudy, config: TrialConfig) -> Iterator[str]:
    # These load torch, which a function of the user's own may not need.
    from sweeper.commands.probe import check_objective, try_batch

    assert config.data is not None
    assert config.model is not None
    data = _load(prepared, config)
    with _placed(prepared.spec, config, "objective.metric"):
        check_objective(config, data.info, prepared.spec.objective)
    needs = _measure(prepared.spec, config, data)
    with _placed(prepared.spec, config, "data.name"):
        batch = next(data.train.batches(config.data.batch_size))
    with _placed(prepared.spec, config, ARCHITECTURE):
        loss, step_s = try_batch(config, data, batch)
    info = data.info
    yield from data.inferred
    if data.remark:
        yield data.remark
    yield (
        f"{info.name} {'x'.join(map(str, info.input_shape))}, {info.task} with "
        f"{format_count(info.n_outputs, 'output')}, "
        f"{info.n_train} + {info.n_validation} rows, fingerprint {info.fingerprint}: "
        f"{config.model.architecture} with {needs.n_weights:,} weights, "
        f"first batch of {len(batch[1])} in {step_s:.2g} s"
        + ("" if isfinite(loss) else f"; its loss is {loss}, and such a trial diverges")
    )


def _try_training(prepared: PreparedStudy, config: TrialConfig) -> None:
    from sweeper.commands.probe import check_training

    data = _load(prepared, config)
    with _placed(prepared.spec, config, ARCHITECTURE):
        check_training(config, data)


def _try_size(prepared: PreparedStudy, config: TrialConfig) -> str:
    assert config.data is not None
    assert config.model is not None
    needs = _measure(prepared.spec, config, _load(prepared, config))
    return (
        f"largest {config.model.architecture}: {needs.n_weights:,} weights, "
        f"{needs.n_bytes / 2**20:,.1f} MiB with a batch of {config.data.batch_size}"
    )


def _time_precisions(
    prepared: PreparedStudy, config: TrialConfig, placement: Placement
) -> dict[Precision, list[float]]:
    """Seconds of updates in each precision, the study's first; empty if there is but one."""
    from sweeper.commands.probe import time_updates

    own = prepared.spec.run.precision
    precisions = list(dict.fromkeys((own, *known_precisions(placement.device))))
    if len(precisions) == 1:
        return {}
    data = _load(prepared, config)
    with _placed(prepared.spec, config, ARCHITECTURE):
        return time_updates(config, data, placement, precisions)


def _tell_times(
    config: TrialConfig, seconds: Mapping[Precision, Sequence[float]], placement: Placement
) -> str:
    assert config.model is not None
    times = ", ".join(f"{median(s) * 1e3:.3g} ms in {name}" for name, s in seconds.items())
    return f"an update of {config.model.architecture} on {placement.device} takes {times}"


def propose_precision(
    own: Precision, timed: Sequence[Mapping[Precision, Sequence[float]]], device: str
) -> str:
    """Another precision if all architectures together are clearly faster in it, or nothing.

    Args:
        own: Of the study.
        timed: Of each architecture, seconds of an update in each precision, turn by turn.
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


def _load(prepared: PreparedStudy, config: TrialConfig) -> "TrialData":
    import torch

    from sweeper.data.dataset import load_data

    device = torch.device("cpu")
    assert config.data is not None
    with _placed(prepared.spec, config, "data.name"):
        return load_data(
            config.data,
            cache_dir=prepared.paths.cache_dir,
            seed=prepared.spec.seed,
            device=device,
            resident_bytes=resident_limit(device),
            label=prepared.data_label,
        )


def _measure(spec: StudySpec, config: TrialConfig, data: "TrialData") -> "Footprint":
    from sweeper.commands.probe import measure_model
    from sweeper.models.forms import check_inputs

    assert config.data is not None
    assert config.model is not None
    n_rows = min(config.data.batch_size, data.info.n_train)
    with _placed(spec, config, "data.name"):
        check_inputs(config.model.architecture, data.info)
    with _placed(spec, config, ARCHITECTURE):
        return measure_model(config.model, data.info, n_rows)


@contextmanager
def _placed(spec: StudySpec, config: TrialConfig, path: str) -> Iterator[None]:
    """Put the place in the file before an error, and what was drawn in that section behind it."""
    section = path.partition(".")[0]
    try:
        yield
    except SweeperError as exc:
        drawn = ", ".join(
            f"{name}={config.params[name]}"
            for name in spec.ranges()
            if name in config.params and name.startswith(f"{section}.")
        )
        tried = f"; tried with {drawn}" if drawn else ""
        exc.args = (f"{placed(spec, str(exc), path)}{tried}",)
        raise
