"""The trials of a study tried out: one for each architecture, and its largest values."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from math import isfinite

import torch

from sweeper.commands.check.model import Footprint, measure_batch, measure_model, try_batch
from sweeper.commands.check.own_training import try_own_training
from sweeper.commands.check.precision import Timed, propose_precision, tell_times, time_updates
from sweeper.commands.check.tried_settings import (
    ARCHITECTURE,
    architectures_of,
    first_settings,
    largest_settings,
    settings_of_own_code,
)
from sweeper.commands.prepare import PreparedStudy, placed
from sweeper.config.settings import FunctionConfig, TrainConfig, TrialConfig
from sweeper.config.space import is_forbidden
from sweeper.config.study import StudySpec
from sweeper.data.dataset import TrialData, load_data
from sweeper.errors import SweeperError
from sweeper.models.forms import check_inputs
from sweeper.text import format_count
from sweeper.training.augmentation import build_augmentation
from sweeper.training.losses import build_loss
from sweeper.training.metrics import metric_names, require_measured
from sweeper.workers.devices import Placement
from sweeper.workers.memory import resident_limit

_CPU = torch.device("cpu")


def try_trials(prepared: PreparedStudy, placement: Placement) -> Iterator[str]:
    """A line for each thing that was seen.

    Args:
        prepared: The study.
        placement: Of a worker.

    Raises:
        SweeperError: If a trial of the study would not get as far.
    """
    spec = prepared.spec
    here = replace(placement, device=placement.devices[0])  # this process sees all GPUs
    timed: list[Timed] = []
    told: set[str] = set()
    architectures = architectures_of(spec)
    for architecture in architectures:
        config = first_settings(spec, architecture)
        if not isinstance(config.train, TrainConfig):
            yield _try_own_training(prepared, config, placement)
            continue
        first = _Rehearsal(prepared, config)
        yield from _new_lines(first.try_batch(), told)
        if seconds := first.time_updates(here):
            timed.append(seconds)
            yield tell_times(first.model.architecture, seconds, here.device)
        largest = _Rehearsal(prepared, largest_settings(spec, architecture))
        if not is_forbidden(spec, largest.config.params):
            yield from largest.try_beside(first)
    for config in settings_of_own_code(spec, architectures):
        _Rehearsal(prepared, config).try_batch()
    if proposal := propose_precision(spec.run.precision, timed, here.device):
        yield proposal


def _new_lines(lines: Iterable[str], told: set[str]) -> Iterator[str]:
    """But for what was told already, as architectures learn from the same data."""
    for line in lines:
        if line not in told:
            told.add(line)
            yield line


def _try_own_training(prepared: PreparedStudy, config: TrialConfig, placement: Placement) -> str:
    train = config.train
    what = f"function {train.function}" if isinstance(train, FunctionConfig) else "command"
    with _placed(prepared.spec, config, f"train.{what.partition(' ')[0]}"):
        said = try_own_training(
            prepared.spec, config, placement, cache_dir=prepared.paths.cache_dir
        )
    return f"train.{what} {said}"


class _Rehearsal:
    """A trial of built-in training, tried out on the CPU part by part."""

    def __init__(self, prepared: PreparedStudy, config: TrialConfig) -> None:
        assert isinstance(config.train, TrainConfig)
        assert config.data is not None
        assert config.model is not None
        self.config = config
        self.train, self.data_config, self.model = config.train, config.data, config.model
        self._prepared = prepared

    def _placed(self, path: str) -> AbstractContextManager[None]:
        return _placed(self._prepared.spec, self.config, path)

    @cached_property
    def data(self) -> TrialData:
        """What it learns from."""
        with self._placed("data.name"):
            return load_data(
                self.data_config,
                cache_dir=self._prepared.paths.cache_dir,
                seed=self._prepared.spec.seed,
                device=_CPU,
                resident_bytes=resident_limit(_CPU),
                label=self._prepared.data_label,
            )

    def try_batch(self) -> list[str]:
        """Train the model on a batch; what was seen, a line each."""
        data, info = self.data, self.data.info
        if self.train.metrics is None:
            self._require_measured(metric_names(info))
        needs = self._measure()
        with self._placed("data.name"):
            batch = next(data.train.batches(self.data_config.batch_size))
        with self._placed(ARCHITECTURE):
            loss, step_s = try_batch(self.config, data, batch)
        line = (
            f"{info.name} {'x'.join(map(str, info.input_shape))}, {info.task} with "
            f"{format_count(info.n_outputs, 'output')}, "
            f"{info.n_train} + {info.n_validation} rows, fingerprint {info.fingerprint}: "
            f"{self.model.architecture} with {needs.n_weights:,} weights, "
            f"first batch of {len(batch[1])} in {step_s:.2g} s"
            + ("" if isfinite(loss) else f"; its loss is {loss}, and such a trial diverges")
        )
        raised = "" if self.train.metrics is None else self._try_own_metrics()
        return [*data.inferred, *filter(None, [data.remark]), line, *filter(None, [raised])]

    def _require_measured(self, names: Sequence[str]) -> None:
        with self._placed("objective.metric"):
            require_measured(self._prepared.spec.objective, self.data.info, names)

    def _try_own_metrics(self) -> str:
        """See that the objective is measured, by a batch; what was raised instead.

        Nobody is refused for that, as a batch may lack a class that all rows together have.
        """
        data, own = self.data, self.train.metrics
        with self._placed("data.name"):
            batch = next(data.validation.batches(self.data_config.batch_size))
        try:
            with self._placed("train.metrics"):
                measured = measure_batch(self.config, data, batch)
        except SweeperError:
            raise
        except Exception as exc:
            return (
                f"train.metrics: {own} raised {type(exc).__name__}: {exc}, given the first "
                f"{format_count(len(batch[1]), 'validation row')}; so it may be for all of them"
            )
        self._require_measured(tuple(dict.fromkeys([*metric_names(data.info), *measured])))
        return ""

    def time_updates(self, placement: Placement) -> Timed:
        """Time updates in each precision of the device."""
        with self._placed(ARCHITECTURE):
            return time_updates(
                self.config, self.data, placement, self._prepared.spec.run.precision
            )

    def try_beside(self, first: "_Rehearsal") -> Iterator[str]:
        """See that what differs from a trial that was tried can be built, and how large it is."""
        if self.train != first.train:
            data = self.data
            with self._placed(ARCHITECTURE):
                build_loss(self.train, data, _CPU)
                build_augmentation(self.train, data.info)
        if (self.model, self.data_config) != (first.model, first.data_config):
            needs = self._measure()
            yield (
                f"largest {self.model.architecture}: {needs.n_weights:,} weights, "
                f"{needs.n_bytes / 2**20:,.1f} MiB with a batch of {self.data_config.batch_size}"
            )

    def _measure(self) -> Footprint:
        info = self.data.info
        n_rows = min(self.data_config.batch_size, info.n_train)
        with self._placed("data.name"):
            check_inputs(self.model.architecture, info)
        with self._placed(ARCHITECTURE):
            return measure_model(self.model, info, n_rows)


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
