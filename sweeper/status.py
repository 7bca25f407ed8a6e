"""``sweeper status``: a study as text."""

from pathlib import Path

from sweeper.begun import find_stand_in
from sweeper.errors import StudyError
from sweeper.ledger import render_seconds
from sweeper.opening import load_study_from_storage
from sweeper.paths import RunPaths
from sweeper.progress import format_best
from sweeper.result import Result
from sweeper.spec import StudySpec


def load_result(spec: StudySpec, root: Path) -> Result:
    """The study of a file as it stands, the one on its fallback data if only that has begun.

    Raises:
        StudyError: If neither has begun.
    """
    study = load_study_from_storage(spec, RunPaths(root, spec.name))
    if study is None and (stand_in := find_stand_in(spec, root)):
        study = load_study_from_storage(stand_in.spec, stand_in.paths)
    if study is None:
        raise StudyError(f"study {spec.name!r} has not begun: sweeper run {spec.path}")
    return Result(study)


def render_status(result: Result) -> str:
    """A few lines for people."""
    sampler, why = result.sampler
    lines = [
        f"study    {result.name}",
        f"goal     {result.n_finished} of {result.goal} trials finished",
        "trials   "
        + ", ".join(f"{n} {state.value}" for state, n in sorted(result.counts.items())),
        f"sampler  {sampler}: {why}",
        f"time     {render_seconds(result.seconds)}",
    ]
    for best in result.front:
        first, *rest = format_best(best)
        lines += [f"best     {first}", *(f"         {line}" for line in rest)]
    for failure in result.failures:
        lines.append(f"failed   {failure.n_trials}: {failure.cause}")
        again = f", tried again {failure.n_retries} x" if failure.n_retries else ""
        lines.append(f"         ({failure.kind}{again})")
        lines += [f"         {line}" for line in failure.details.splitlines()]
    return "\n".join(lines)
