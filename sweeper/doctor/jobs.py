"""Checks of jobs that were submitted to a scheduler."""

from collections.abc import Iterator
from functools import partial

from sweeper.doctor.finding import Finding
from sweeper.errors import LauncherError
from sweeper.launchers import slurm
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths


def check_submissions(paths: RunPaths) -> Iterator[Finding]:
    """Submissions that were begun, and of which nobody noted whether the scheduler took them."""
    for submission in read_submissions(paths):
        if submission.job is None and submission.to == "slurm":
            yield _ask_slurm(submission, paths)


def _ask_slurm(submission: Submission, paths: RunPaths) -> Finding:
    where = str(paths.submission(submission.name).parent)
    begun = "was begun, and it was not noted whether Slurm took the jobs"
    try:
        jobs = slurm.queue([submission.job_name])
    except LauncherError as exc:
        advice = f"look with `squeue --name={submission.job_name}`, then remove the folder"
        return Finding(where, f"{begun} ({exc})", advice)
    if jobs:
        job = jobs[0].id.partition("_")[0]
        mend = partial(submission.note_job, paths, job)
        return Finding(where, f"{begun}: it did, as {job}", "notes that", mend)
    advice = "removes the folder"
    what = f"{begun}: Slurm has none of that name, so it did not, or they have ended"
    return Finding(where, what, advice, partial(submission.forget, paths))
