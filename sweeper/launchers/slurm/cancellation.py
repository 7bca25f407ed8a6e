"""Slurm's jobs of a study are cancelled, those that wait before those that run."""

import time
from collections.abc import Callable, Iterable, Sequence

from sweeper.errors import LauncherError
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.submission import QueuedJob, Submission
from sweeper.paths import RunPaths
from sweeper.text import format_count

#: Slurm kills a job that it cancels after 30 s by default. One that was ending may have put
#: itself, or the next of its schedule, into the queue, so that takes more than one round.
_ENDING_S = 120.0
_POLL_S = 3.0


class SlurmCancellation:
    """Cancels all jobs of some submissions.

    Those that wait go first, so that none starts meanwhile. Those that run may end by themselves,
    once their agents were asked to stop; what is left then is cancelled.

    Args:
        submissions: To Slurm.
        paths: Files of their study.
    """

    def __init__(self, submissions: Sequence[Submission], paths: RunPaths) -> None:
        self._submissions = submissions
        self._names = [found.job_name for found in submissions]
        self._paths = paths
        self._waiting: set[str] = set()

    def begin(self) -> list[str]:
        """Cancel the jobs that wait, which :meth:`finish` tells."""
        jobs = slurm.queue(self._names)
        self._waiting = _cancel(job for job in jobs if job.state == "PENDING")
        return []

    def finish(self, wait_s: float, note: Callable[[str], None]) -> list[str]:
        """Let jobs that run end by themselves for so long, then cancel until none is left.

        Raises:
            LauncherError: If Slurm fails, or does not end them.
        """
        n_waited = len(self._waiting)
        cancelled = self._waiting | self._empty_queue(wait_s, note)
        line = f"{format_count(len(cancelled), 'Slurm job')} cancelled, {n_waited} of them waiting"
        return [line, *(said for found in self._submissions for said in self._close(found))]

    def _empty_queue(self, wait_s: float, note: Callable[[str], None]) -> set[str]:
        """Ids of the jobs that were cancelled."""
        begun_s, cancelled, n_said = time.monotonic(), set[str](), 0
        while jobs := slurm.queue(self._names):
            waited_s = time.monotonic() - begun_s
            if waited_s > wait_s + _ENDING_S:
                raise LauncherError(
                    f"squeue: still shows {', '.join(map(str, jobs))}; cancel again"
                )
            if len(jobs) != n_said:
                note(f"{format_count(len(jobs), 'Slurm job')} to end ...")
                n_said = len(jobs)
            due = [job for job in jobs if job.state == "PENDING" or waited_s >= wait_s]
            cancelled |= _cancel(job for job in due if job.state != "COMPLETING")
            time.sleep(_POLL_S)
        return cancelled

    def _close(self, submission: Submission) -> list[str]:
        """Know of it no more, unless Slurm may still take its jobs."""
        if submission.job is None:
            return [
                f"nobody knows whether Slurm takes {submission.job_name}: see `sweeper doctor`"
            ]
        submission.close(self._paths)
        return []


def _cancel(jobs: Iterable[QueuedJob]) -> set[str]:
    due = list(jobs)
    slurm.cancel(due)
    return {job.id for job in due}
