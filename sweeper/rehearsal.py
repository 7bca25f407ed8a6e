"""``sweeper check``: everything that a run would do, up to one batch."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeper.config import FunctionConfig, Scalar, TrialConfig
from sweeper.machine import check_torch_pair, place_workers
from sweeper.paths import RunPaths
from sweeper.preparation import PreparedStudy, prepare_study
from sweeper.sampling import choose_sampler
from sweeper.space import count_goal, first_value, suggest_config
from sweeper.spec import Choices, Range, StudySpec

_ARCHITECTURE = "model.architecture"


def rehearse(spec: StudySpec, root: Path, note: Callable[[str], None]) -> Iterator[str]:
    """Prepare the data, build every architecture, run a batch through it; a line for each.

    Raises:
        SweeperError: If a run of the study would not get as far.
    """
    check_torch_pair()
    prepared = prepare_study(spec, root, note)
    spec = prepared.spec
    sampler, why = choose_sampler(spec)
    yield f"{spec.path}: study {spec.name}, {count_goal(spec)} trials, {len(spec.ranges())} ranges"
    yield f"sampler {sampler}: {why}; pruner {spec.pruner.name}"
    placements = place_workers(spec)
    where = ", ".join(dict.fromkeys(place.device for place in placements))
    yield f"{len(placements)} workers on {where}, {placements[0].n_threads} threads each"
    for config in _configs(spec):
        yield from _rehearse_config(prepared, root, config)
    yield f"ready: sweeper run {spec.path}"


def _configs(spec: StudySpec) -> Iterator[TrialConfig]:
    """The first value of every range, once for each architecture."""
    found = spec.ranges().get(_ARCHITECTURE)
    options = found.options if isinstance(found, Choices) else (None,)
    for option in options:

        def suggest(name: str, values: Range, option: Scalar = option) -> Scalar:
            return option if name == _ARCHITECTURE else first_value(name, values)

        yield suggest_config(spec, suggest, seed=spec.seed)


def _rehearse_config(prepared: PreparedStudy, root: Path, config: TrialConfig) -> Iterator[str]:
    if isinstance(config.train, FunctionConfig):
        yield f"train.function {config.train.function} is there; it is not called by check"
        return
    # Below the function: a study with its own training function needs no torch here.
    import torch
    from torch.nn.functional import cross_entropy

    from sweeper.data.dataset import load_data
    from sweeper.models import build_model, check_model

    assert config.data is not None
    assert config.model is not None
    data = load_data(
        config.data,
        cache_dir=RunPaths(root, prepared.spec.name).cache_dir,
        seed=prepared.spec.seed,
        device=torch.device("cpu"),
        label=prepared.data_label,
    )
    info = data.info
    name = config.model.architecture
    model = build_model(name, info.input_shape, info.n_classes, **config.model.params)
    check_model(model, info.input_shape, info.n_classes)
    inputs, targets = next(data.train.batches(config.data.batch_size))
    begun = time.perf_counter()
    cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    step_s = time.perf_counter() - begun
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    yield (
        f"{info.name} {'x'.join(map(str, info.input_shape))}, {info.n_classes} classes, "
        f"{info.n_train} + {info.n_validation} rows, fingerprint {info.fingerprint}: "
        f"{name} with {n_weights:,} weights, first batch of {len(targets)} in {step_s:.2g} s"
    )
