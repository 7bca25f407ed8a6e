"""``sweeper status``: a study as text, and who works on it."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.text import Text

from sweeper.begun import load_begun
from sweeper.errors import LauncherError
from sweeper.launchers import slurm
from sweeper.launchers.submission import slurm_job_names
from sweeper.ledger import render_seconds
from sweeper.paths import RunPaths
from sweeper.progress import format_best, format_seconds
from sweeper.result import Result
from sweeper.roster import render_agent
from sweeper.spec import StudySpec

_WATCH_S = 2.0
#: Lines of jobs that wait; an array may have thousands.
_MOST_JOBS = 10


def load_result(spec: StudySpec, root: Path) -> Result:
    """As :func:`~sweeper.begun.load_begun`: the study as it stands."""
    return Result(load_begun(spec, root))


def watch_status(spec: StudySpec, root: Path, *, as_json: bool) -> None:
    """Show the study again and again until its goal is reached or the user has seen enough."""
    study = load_begun(spec, root)
    with nullcontext() if as_json else Live(refresh_per_second=1) as live:
        while True:
            result = Result(study)
            if live is None:
                print(json.dumps(result.to_json()), flush=True)
            else:
                live.update(Text(render_status(result)))
            if result.n_finished >= result.goal:
                return
            time.sleep(_WATCH_S)


def render_status(result: Result) -> str:
    """A few lines for people."""
    sampler, why = result.sampler
    lines = [
        f"study    {result.name}",
        f"goal     {result.n_finished} of {result.goal} trials finished{_pace(result)}",
        "trials   "
        + ", ".join(f"{n} {state.value}" for state, n in sorted(result.counts.items())),
        *_under("agents", [render_agent(agent) for agent in result.agents]),
        *_under("queue", _queue(result.paths)),
        f"sampler  {sampler}: {why}",
        f"time     {render_seconds(result.seconds)}",
    ]
    for best in result.front:
        lines += _under("best", format_best(best))
    for failure in result.failures:
        lines.append(f"failed   {failure.n_trials}: {failure.cause}")
        again = f", tried again {failure.n_retries} x" if failure.n_retries else ""
        lines.append(f"         ({failure.kind}{again})")
        lines += [f"         {line}" for line in failure.details.splitlines()]
    return "\n".join(lines)


def _under(title: str, lines: list[str]) -> list[str]:
    """The lines as a block behind a title; nothing if there are none."""
    return [f"{title if n == 0 else '':<9}{line}" for n, line in enumerate(lines)]


def _pace(result: Result) -> str:
    per_hour = result.trials_per_hour
    if per_hour is None:
        return ""
    left_s = (result.goal - result.n_finished) / per_hour * 3600
    return f", {per_hour:.3g} an hour, {format_seconds(left_s)} left"


def _queue(paths: RunPaths) -> list[str]:
    """What Slurm's queue holds of the study; nothing where it was never submitted there."""
    names = slurm_job_names(paths)
    if not names:
        return []
    try:
        jobs = slurm.queue(names)
    except LauncherError as exc:
        return [f"cannot be seen: {exc}"]
    n_more = len(jobs) - _MOST_JOBS
    return [str(job) for job in jobs[:_MOST_JOBS]] + ([f"and {n_more} more"] * (n_more > 0))
