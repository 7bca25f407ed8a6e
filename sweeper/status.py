"""``sweeper status``: a study as text, and who works on it."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.text import Text

from sweeper.begun import load_begun, load_if_begun, not_begun
from sweeper.errors import LauncherError
from sweeper.launchers import slurm
from sweeper.launchers.submission import read_submissions, slurm_job_names
from sweeper.ledger import render_seconds
from sweeper.paths import RunPaths
from sweeper.progress import format_best, format_seconds
from sweeper.result import Result
from sweeper.roster import render_agent
from sweeper.spec import StudySpec
from sweeper.study import SweepStudy

_WATCH_S = 2.0
#: Lines of jobs that wait; an array may have thousands.
_MOST_JOBS = 10


def show_status(spec: StudySpec, root: Path, *, as_json: bool) -> str:
    """A study as JSON, or in a few lines for people; of one that waits in a queue, its jobs.

    Raises:
        StudyError: If it has neither begun nor been submitted, or its storage is out of reach.
    """
    if as_json:
        return json.dumps(Result(load_begun(spec, root)).to_json())
    return _render(_load(spec, root), spec, root)


def watch_status(spec: StudySpec, root: Path, *, as_json: bool) -> None:
    """Show the study again and again until its goal is reached or the user has seen enough.

    Raises:
        StudyError: As :func:`show_status`.
    """
    study = None
    with nullcontext() if as_json else Live(refresh_per_second=1) as live:
        while True:
            study = study or _load(spec, root)
            if live is not None:
                live.update(Text(_render(study, spec, root)))
            elif study is not None:
                print(json.dumps(Result(study).to_json()), flush=True)
            if study is not None and study.n_finished() >= study.goal:
                return
            time.sleep(_WATCH_S)


def _load(spec: StudySpec, root: Path) -> SweepStudy | None:
    """The study; None if it has not begun and its jobs may do so."""
    study = load_if_begun(spec, root)
    if study is None and not read_submissions(RunPaths(root, spec.name)):
        raise not_begun(spec)
    return study


def _render(study: SweepStudy | None, spec: StudySpec, root: Path) -> str:
    submitted = RunPaths(root, spec.name)  # under that name also if the study is on fallback data
    queue = _under("queue", _queue(submitted))
    if study is None:
        jobs = [f"{found.to} {found.job or '?'}" for found in read_submissions(submitted)]
        lines = [f"study    {spec.name}", "goal     has not begun: no agent is at work yet"]
        return "\n".join([*lines, *_under("jobs", jobs), *queue])
    return _render_result(Result(study), queue)


def _render_result(result: Result, queue: list[str]) -> str:
    sampler, why = result.sampler
    lines = [
        f"study    {result.name}",
        f"goal     {result.n_finished} of {result.goal} trials finished{_pace(result)}",
        "trials   "
        + ", ".join(f"{n} {state.value}" for state, n in sorted(result.counts.items())),
        *_under("agents", [render_agent(agent) for agent in result.agents]),
        *queue,
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
