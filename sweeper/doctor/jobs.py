"""Checks of jobs that were submitted to a scheduler."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from sweeper.doctor.finding import Finding
from sweeper.errors import LauncherError
from sweeper.launchers import kubernetes, slurm
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths


class _Scheduler(NamedTuple):
    """How one is asked whether it has taken the jobs of a submission.

    Attributes:
        title: For people.
        find: Its own id of jobs by their name; None if it has none.
        command: The same by hand.
    """

    title: str
    find: Callable[[str], str | None]
    command: str


def _find_in_slurm(job_name: str) -> str | None:
    return next((job.id.partition("_")[0] for job in slurm.queue([job_name])), None)


def _find_in_kubernetes(job_name: str) -> str | None:
    name = kubernetes.nearest_label(job_name)
    return name if kubernetes.is_there(name) else None


_SCHEDULERS = {
    "slurm": _Scheduler("Slurm", _find_in_slurm, "squeue --me --format='%i %j %T'"),
    "kubernetes": _Scheduler("Kubernetes", _find_in_kubernetes, "kubectl get job,cronjob"),
}


def check_submissions(paths: RunPaths) -> Iterator[Finding]:
    """Submissions that were begun, and of which nobody noted whether the scheduler took them."""
    for submission in read_submissions(paths):
        if submission.job is None:
            yield _ask(_SCHEDULERS[submission.to], submission, paths)


def _ask(scheduler: _Scheduler, submission: Submission, paths: RunPaths) -> Finding:
    where = str(paths.submission(submission.name).parent)
    begun = f"was begun, and it was not noted whether {scheduler.title} took the jobs"
    try:
        job = scheduler.find(submission.job_name)
    except LauncherError as exc:
        advice = (
            f"look for {submission.job_name} with `{scheduler.command}`, then remove the folder"
        )
        return Finding(where, f"{begun} ({exc})", advice)
    if job is not None:
        mend = partial(submission.note_job, paths, job)
        return Finding(where, f"{begun}: it did, as {job}", "notes that", mend)
    what = f"{begun}: {scheduler.title} has none of that name, so it did not, or they have ended"
    return Finding(where, what, "removes the folder", partial(submission.forget, paths))
