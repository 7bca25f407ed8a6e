"""``sweeper status``: a study as text, and who works on it."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sweeper.commands.best import format_best, format_best_pruned
from sweeper.commands.best_table import top_lines, trials_csv
from sweeper.commands.redrawn import Redrawn
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.launchers.queue import StudyQueue
from sweeper.paths import RunPaths
from sweeper.study.agents import render_agent
from sweeper.study.find import FoundStudy, find_study
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.text import format_counts, format_number, format_seconds, redacted, write_out
from sweeper.timing import render_seconds
from sweeper.trial import NAIVE_METRICS, Task

_WATCH_S = 2.0
#: A job may wait for days, and each look opens the storage anew.
_BEGIN_S = 10.0
#: Who reaches the naive mark of a task.
_NAIVE: Mapping[Task, str] = {
    "classification": "the commonest class alone",
    "regression": "the mean alone",
}
#: Lines of jobs that wait; an array may have thousands.
_MOST_JOBS = 10


def show_status(
    spec: StudySpec, root: Path, *, as_json: bool = False, top: int | None = None
) -> str:
    """A study as JSON, or in a few lines for people; of one that waits in a queue, its jobs.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        as_json: For scripts.
        top: So many of the best trials are shown beside each other.

    Raises:
        StudyError: If it has neither begun nor been submitted, or its storage is out of reach.
    """
    found, queue = find_study(spec, root), _open_queue(spec, root)
    study = found.open()
    queue.look()
    if study is None and not queue.is_submitted:
        raise found.not_begun()
    return _to_json(spec, study, queue, top) if as_json else _render(spec, study, queue, top)


def show_csv(spec: StudySpec, root: Path, *, top: int | None = None) -> str:
    """The trials of a study as CSV: all of them, or so many of the best.

    Raises:
        StudyError: If it has not begun, or its storage is out of reach.
    """
    return trials_csv(Result(find_study(spec, root).open_begun()), top)


def watch_status(
    spec: StudySpec, root: Path, *, as_json: bool = False, top: int | None = None
) -> None:
    """Show the study again and again until its goal is reached or the user has seen enough.

    Raises:
        StudyError: As :func:`show_status`; also if it has not begun, and no job will begin it.
    """
    study, looked_s, queue = None, -math.inf, _open_queue(spec, root)
    screen = None if as_json else Redrawn(Console())
    with nullcontext() if screen is None else closing(screen):
        while True:
            queue.look()
            if study is None and (queue.is_over or time.monotonic() - looked_s >= _BEGIN_S):
                found = find_study(spec, root)
                study, looked_s = found.open(), time.monotonic()
            if study is None:
                _refuse_to_wait(found, queue)
            if screen is None:
                write_out(_to_json(spec, study, queue, top))
            else:
                screen.draw(Text(redacted(_render(spec, study, queue, top))))
            if study is not None and study.n_finished() >= study.goal:
                break
            time.sleep(_WATCH_S)
    if screen is not None:
        write_out(redacted(_render(spec, study, queue, top)))


def _open_queue(spec: StudySpec, root: Path) -> StudyQueue:
    # Jobs are known by the file's name for the study also if it is on fallback data.
    return StudyQueue(RunPaths(root, spec.name))


def _refuse_to_wait(found: FoundStudy, queue: StudyQueue) -> None:
    """Raise if nothing will begin the study."""
    if not queue.is_submitted:
        raise found.not_begun()
    if queue.is_over:
        raise StudyError(
            f"study {found.spec.name!r} has not begun, and no job of it is left in "
            f"{' and '.join(queue.schedulers)}'s queue; what they printed lies in "
            f"{queue.log_dir}. Mend that, then submit it again"
        )


def _to_json(spec: StudySpec, study: SweepStudy | None, queue: StudyQueue, top: int | None) -> str:
    """The study with its queue; of one that has not begun, name and jobs alone."""
    waiting = {
        "queue": [asdict(job) for job in queue.jobs],
        "queue_problems": queue.problems,
    }
    if study is not None:
        result = Result(study)
        best = {} if top is None else {"top": result.top(top)}
        return json.dumps({**result.to_json(), **best, **waiting})
    jobs = [{"to": found.to, "job": found.job} for found in queue.submissions]
    return json.dumps({"study": spec.name, "goal": None, "jobs": jobs, **waiting})


def _render(spec: StudySpec, study: SweepStudy | None, queue: StudyQueue, top: int | None) -> str:
    waiting = _under("queue", _queue_lines(queue))
    if study is not None:
        result = Result(study)
        return "\n".join(
            [
                *_result_lines(result, waiting),
                *_under("top", top_lines(result, top) if top else []),
            ]
        )
    jobs = [f"{found.to} {found.job or '?'}" for found in queue.submissions]
    if queue.is_over:
        waiting = _under("queue", ["no job is left", f"what they printed lies in {queue.log_dir}"])
    lines = [f"study    {spec.name}", "goal     has not begun: no agent is at work yet"]
    return "\n".join([*lines, *_under("jobs", jobs), *waiting])


def _queue_lines(queue: StudyQueue) -> list[str]:
    n_more = len(queue.jobs) - _MOST_JOBS
    shown = [str(job) for job in queue.jobs[:_MOST_JOBS]]
    return [*shown, *([f"and {n_more} more"] * (n_more > 0)), *queue.problems]


def _result_lines(result: Result, queue: list[str]) -> list[str]:
    sampler, why = result.sampler
    drawn = format_counts(result.drawn_by)
    lines = [
        f"study    {result.name}",
        f"goal     {result.n_finished} of {result.goal} trials finished{_pace(result)}",
        f"trials   {format_counts(dict(sorted(result.counts.items())))}",
        *_under("agents", [render_agent(agent) for agent in result.agents]),
        *queue,
        f"sampler  {sampler}: {why}",
        *_under("warm", [result.warm_start] if result.warm_start else []),
        *_under("drawn", [drawn] if drawn else []),
        *_under("model", _model_lines(result)),
        f"pruner   {result.pruner.name}: {result.pruner.why}",
        *_under("lanes", _lane_lines(result)),
        *_under("code", _code_lines(result)),
        f"time     {render_seconds(result.seconds)}",
    ]
    lines += _under("task", _task_lines(result))
    for best in result.front:
        lines += _under("best", format_best(best))
    lines += _under("pruned", format_best_pruned(result))
    for failure in result.failures:
        lines.append(f"failed   {failure.n_trials}: {failure.cause}")
        again = f", tried again {failure.n_retries} x" if failure.n_retries else ""
        lines.append(f"         ({failure.kind}{again})")
        lines += [f"         {line}" for line in failure.details.splitlines()]
    return lines


def _task_lines(result: Result) -> list[str]:
    """What is learned, and what any model must beat."""
    learned = result.learned
    if learned is None:
        return []
    if learned.naive is None:
        return [learned.task]
    metric = NAIVE_METRICS[learned.task]
    return [f"{learned.task}; {_NAIVE[learned.task]} reaches {metric} {learned.naive:.6g}"]


def _model_lines(result: Result) -> list[str]:
    """What the sampler's model says, if there is one."""
    if result.model is None:
        return []
    expected = result.model.expects(result.spec.objective.metrics[0])
    return [f"what matters, by length: {result.model.matters()}", f"expects {expected}"]


def _lane_lines(result: Result) -> list[str]:
    """How many trials a worker trains at once, where that was measured."""
    return [f"{device}: {best.explain()}" for device, best in result.lanes.items()]


def _code_lines(result: Result) -> list[str]:
    """Versions of the study's own code, if trials ran with several."""
    versions = result.code_versions
    if len(versions) < 2:
        return []
    each = [f"{digest} since trial {number}" for digest, number in versions.items()]
    return [f"trials ran with {len(versions)} versions of it, and may not compare:", *each]


def _under(title: str, lines: list[str]) -> list[str]:
    """The lines as a block behind a title; nothing if there are none."""
    return [f"{title if n == 0 else '':<9}{line}" for n, line in enumerate(lines)]


def _pace(result: Result) -> str:
    per_hour, left_s = result.trials_per_hour, result.seconds_left
    pace = "" if per_hour is None else f", {format_number(per_hour)} an hour"
    return pace + ("" if left_s is None else f", about {format_seconds(left_s)} left")
