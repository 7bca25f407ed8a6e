"""Checks of jobs that were submitted to a scheduler."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from sweeper.commands.doctor.finding import Finding
from sweeper.errors import LauncherError
from sweeper.launchers import kubernetes
from sweeper.launchers.kubernetes.launcher import place_of
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.submission import Damage, Submission, read_submissions
from sweeper.paths import RunPaths

#: So long a command may still be submitting, or a busy controller take a job whose sender has
#: given up.
_SETTLED_S = 600


class _Scheduler(NamedTuple):
    """How one is asked whether it has taken the jobs of a submission.

    Attributes:
        title: For people.
        find: Its own id of the jobs; None if it has none.
        command: The same by hand.
    """

    title: str
    find: Callable[[Submission], str | None]
    command: str


def _find_in_slurm(submission: Submission) -> str | None:
    jobs = slurm.queue([submission.job_name])
    return next((job.id.partition("_")[0] for job in jobs), None)


def _find_in_kubernetes(submission: Submission) -> str | None:
    name = kubernetes.nearest_label(submission.job_name)
    return name if kubernetes.is_there(name, place_of(submission)) else None


_SCHEDULERS = {
    "slurm": _Scheduler("Slurm", _find_in_slurm, "squeue --me --all --format='%i %j %T'"),
    "kubernetes": _Scheduler("Kubernetes", _find_in_kubernetes, "kubectl get job,cronjob"),
}


def check_submissions(paths: RunPaths) -> Iterator[Finding]:
    """Submissions that were begun, and of which nobody noted whether the scheduler took them."""
    damaged: list[Damage] = []
    for submission in read_submissions(paths, damaged.append):
        if submission.job is None:
            yield _ask(_SCHEDULERS[submission.to], submission, paths)
    for damage in damaged:
        yield Finding(str(damage.path), damage.what, damage.advice)


def _ask(scheduler: _Scheduler, submission: Submission, paths: RunPaths) -> Finding:
    where = str(paths.submission(submission.name).parent)
    begun = f"was begun, and it was not noted whether {scheduler.title} took the jobs"
    by_hand = f"look for {submission.job_name} with `{scheduler.command}`"
    try:
        job = scheduler.find(submission)
    except LauncherError as exc:
        return Finding(where, f"{begun} ({exc})", f"{by_hand}, then remove the folder")
    if job is None and (logs := submission.logs(paths)):
        job = logs[0].name.partition("_")[0]
    if job is not None:
        mend = partial(submission.note_job, paths, job)
        return Finding(where, f"{begun}: it did, as {job}", "notes that", mend)
    what = f"{begun}: {scheduler.title} has none of that name"
    left_s = submission.begun_s + _SETTLED_S - time.time()
    if left_s > 0:
        advice = (
            f"that may be under way still: ask again in {math.ceil(left_s / 60)} min, before "
            f"anything is removed, or {by_hand}"
        )
        return Finding(where, what, advice)
    what += ", so it did not, or they ended without a word"
    return Finding(where, what, "removes the folder", partial(submission.forget, paths))
