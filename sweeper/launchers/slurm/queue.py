"""What Slurm's queue holds of a study, for those who watch it."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.errors import LauncherError
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.slurm.commands import QueuedJob
from sweeper.launchers.submission import Damage, Submission, read_submissions
from sweeper.paths import RunPaths

#: A controller serves a whole site, and ``squeue`` is what slows it down.
_ASK_EVERY_S = 30.0


class StudyQueue:
    """Jobs of one study, and the submissions that they come from.

    Args:
        paths: Files of the study.
        now: Seconds of a clock that never goes back.

    Attributes:
        submissions: All that can be read.
        jobs: Of them in Slurm's queue, when it was last asked.
        problems: Why something cannot be seen, one a line.
    """

    def __init__(self, paths: RunPaths, now: Callable[[], float] = time.monotonic) -> None:
        self.submissions: list[Submission] = []
        self.jobs: list[QueuedJob] = []
        self.problems: list[str] = []
        self._paths = paths
        self._now = now
        self._asked_s = -math.inf

    def look(self) -> None:
        """Ask Slurm, if some time has passed since it was asked last."""
        if self._now() - self._asked_s < _ASK_EVERY_S:
            return
        damaged: list[Damage] = []
        self.submissions = read_submissions(self._paths, damaged.append)
        self.problems = [str(damage) for damage in damaged]
        names = [found.job_name for found in self.submissions if found.to == "slurm"]
        try:
            self.jobs = slurm.queue(names) if names else []
        except LauncherError as exc:
            self.jobs = []
            self.problems.append(f"cannot be seen: {exc}")
        self._asked_s = self._now()

    @property
    def is_submitted(self) -> bool:
        """Whether there are, or were, jobs that may begin the study."""
        return bool(self.submissions or self.problems)

    @property
    def is_over(self) -> bool:
        """Whether Slurm had all jobs there were, and has none any more."""
        is_known = all(found.to == "slurm" and found.job for found in self.submissions)
        return bool(self.submissions) and is_known and not (self.jobs or self.problems)

    @property
    def log_dir(self) -> Path:
        """Below it lies what the jobs have printed."""
        return self._paths.submissions_dir
