"""Checks of jobs that were submitted to a launcher."""

import math
import time
from collections.abc import Iterator
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.errors import LauncherError
from sweeper.launchers.base import LAUNCHERS, Launcher
from sweeper.launchers.submission import Damage, Submission, read_submissions
from sweeper.paths import RunPaths

#: So long a command may still be submitting, or a busy controller take a job whose sender has
#: given up.
_SETTLED_S = 600


def check_submissions(paths: RunPaths) -> Iterator[Finding]:
    """Submissions that were begun, and of which nobody noted whether the scheduler took them."""
    damaged: list[Damage] = []
    for submission in read_submissions(paths, damaged.append):
        if submission.job is None:
            yield _ask(LAUNCHERS[submission.to], submission, paths)
    for damage in damaged:
        yield Finding(str(damage.path), damage.what, damage.advice)


def _ask(launcher: Launcher, submission: Submission, paths: RunPaths) -> Finding:
    where = str(paths.submission(submission.name).parent)
    begun = f"was begun, and it was not noted whether {launcher.title} took the jobs"
    by_hand = f"look for {submission.job_name} with `{launcher.list_command}`"
    try:
        job = launcher.find(submission)
    except LauncherError as exc:
        return Finding(where, f"{begun} ({exc})", f"{by_hand}, then remove the folder")
    if job is None and (logs := submission.logs(paths)):
        job = logs[0].name.partition("_")[0]
    if job is not None:
        mend = partial(submission.note_job, paths, job)
        return Finding(where, f"{begun}: it did, as {job}", "notes that", mend)
    what = f"{begun}: {launcher.title} has none of that name"
    left_s = submission.begun_s + _SETTLED_S - time.time()
    if left_s > 0:
        advice = (
            f"that may be under way still: ask again in {math.ceil(left_s / 60)} min, before "
            f"anything is removed, or {by_hand}"
        )
        return Finding(where, what, advice)
    what += ", so it did not, or they ended without a word"
    return Finding(where, what, "removes the folder", partial(submission.forget, paths))
