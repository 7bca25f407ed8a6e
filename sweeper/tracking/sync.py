"""A study's events sent to MLflow, all of them at once."""

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from sweeper.config.study import StudySpec
from sweeper.errors import RequestRefusedError
from sweeper.imports import loading
from sweeper.paths import RunPaths
from sweeper.study.result import Result
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.fetch import fetch_ended
from sweeper.study.storage.shared_locks import founding
from sweeper.study.study import SweepStudy
from sweeper.text import format_counts
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.completion import sendable
from sweeper.tracking.exporting import Exporting

if TYPE_CHECKING:
    from sweeper.tracking.mirror import Mirror


def build_mirror(
    spec: StudySpec,
    paths: RunPaths,
    tags: Mapping[str, str],
    *,
    references: Collection[str],
    is_start: bool,
    has_storage: bool = True,
    exporter: Exporting | None = None,
) -> "Mirror":
    """The mirror of a study.

    Args:
        spec: The study.
        paths: Its files.
        tags: Of the study's run in MLflow.
        references: The user's own code that may be called.
        is_start: Somebody begins to work on the study.
        has_storage: The study's storage can be reached, which sees to it that machines which
            send at once begin one run for the study.
        exporter: Exports models in another process; None for this one.
    """
    with loading("the mirror"):
        from sweeper.tracking.mirror import Mirror  # most of a second of a core
        from sweeper.tracking.mirrored_study import MirroredStudy

    uri = tracking_uri(spec.tracking.uri, paths)
    return Mirror(
        MirroredStudy(
            paths,
            uri,
            spec.objective,
            tuple(spec.ranges()),
            spec.tracking.log_models,
            references,
            shares_runs=spec.shares_runs,
        ),
        tags,
        is_start=is_start,
        founding=partial(founding, spec) if has_storage else nullcontext,
        exporter=exporter,
    )


def send_all(
    mirror: "Mirror",
    study: SweepStudy,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Send everything, then let the study's run show what the study has come to.

    Args:
        mirror: Of the study.
        study: In its storage.
        show: Called with the number of trials looked at and that of all to look at.

    Raises:
        TrackerError: If MLflow cannot be used, or refused what a trial sent. In the latter case
            all the rest has been done.
        StoreError: If the disk or the storage fails.
    """
    before = sendable(study)
    _fetch_best(study)
    refusal = None
    try:
        mirror.send(show)
    except RequestRefusedError as exc:
        refusal = exc
    best = _finish(mirror, study)
    if refusal is not None:
        raise refusal
    if study.n_finished() >= study.goal:
        mirror.completion(before, best).save(study.paths.mirrored)


@store_errors()
def _fetch_best(study: SweepStudy) -> None:
    """Bring here the trials whose models are now to be logged, if other nodes trained them."""
    if study.object_store is None or study.spec.tracking.log_models != "best":
        return
    if study.n_finished() < study.goal:
        return
    for best in Result(study).front:
        if not any(path.exists() for path in study.paths.model_files(best.number)):
            fetch_ended(study.object_store, study.paths, best.number)


def _finish(mirror: "Mirror", study: SweepStudy) -> list[int]:
    """Let the study's run show what it has come to; the numbers of the best trials."""
    from sweeper.tracking.description import Description  # loads mlflow, as the mirror has

    with store_errors():
        result = Result(study)
        is_reached = result.n_finished >= result.goal
        best_trials = [best.number for best in result.front]
        counts, seconds = result.counts, result.seconds
        sampler = _tell_sampler(result)
        description = Description.of(result)
    refusal = None
    try:
        mirror.describe(description)
    except RequestRefusedError as exc:
        refusal = exc
    mirror.finish(
        goal_reached=is_reached,
        best_trials=best_trials,
        counts=counts,
        seconds=seconds,
        sampler=sampler,
    )
    if refusal is not None:
        raise refusal
    return best_trials


def _tell_sampler(result: Result) -> dict[str, str]:
    told = {"drawn": format_counts(result.drawn_by)}
    if result.model is not None:
        told["matters"] = result.model.matters()
        told["expects"] = result.model.expects(result.spec.objective.metrics[0])
    return told
