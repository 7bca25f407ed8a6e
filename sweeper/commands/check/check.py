"""What is searched, by whom, and a trial of each kind tried out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeper.commands.prepare import PreparedStudy, prepare_study
from sweeper.commands.warm_start import preview_warm_start
from sweeper.config.grid import count_goal, count_settings, explain_goal
from sweeper.config.study import StudySpec
from sweeper.study.create import refuse_changes
from sweeper.study.find import FoundStudy
from sweeper.study.pruners import epochs_of, explain_pruner
from sweeper.study.samplers.auto import choose_sampler
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.preflight import check_writable
from sweeper.text import format_count
from sweeper.workers.devices import Placement, join_names, place_workers
from sweeper.workers.gpus import keep_to_own_gpus
from sweeper.workers.versions import check_torch_pair

#: More are as good as endless to a study.
_MOST_SETTINGS = 1_000_000


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
    _refuse_changes(prepared)
    yield from _tell_search(spec, root)
    placements = place_workers(spec)
    yield _tell_workers(spec, placements)
    from sweeper.commands.check.trials import try_trials  # torch

    yield from try_trials(prepared, placements[0])
    yield f"ready: {spec.command('run')}"


@store_errors()
def _refuse_changes(prepared: PreparedStudy) -> None:
    """See that a study that was begun here is still what the file says."""
    found = FoundStudy(prepared.spec, prepared.paths)
    if found.is_here and (study := found.open()):
        refuse_changes(study)


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


def _tell_settings(spec: StudySpec) -> Iterator[str]:
    """How many settings there are, if few enough to matter, and what the goal is for that."""
    n_settings = count_settings(spec, _MOST_SETTINGS)
    if reason := explain_goal(spec):
        yield reason
    elif spec.ranges() and n_settings < _MOST_SETTINGS:
        yield f"the space has {format_count(n_settings, 'setting')}"
