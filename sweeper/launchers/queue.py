"""What the schedulers' queues hold of a study, for those who watch it."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.errors import LauncherError
from sweeper.launchers.base import by_launcher
from sweeper.launchers.submission import Damage, QueuedJob, Submission, read_submissions
from sweeper.paths import RunPaths

#: A controller serves a whole site, and ``squeue`` is what slows Slurm's down.
_ASK_EVERY_S = 30.0


class StudyQueue:
    """Jobs of one study, and the submissions that they come from.

    Args:
        paths: Files of the study.
        now: Seconds of a clock that never goes back.

    Attributes:
        submissions: All that can be read.
        jobs: Of them in a queue, when it was last asked.
        schedulers: Whose queues those are, for people.
        problems: Why something cannot be seen, one a line.
    """

    def __init__(self, paths: RunPaths, now: Callable[[], float] = time.monotonic) -> None:
        self.submissions: list[Submission] = []
        self.jobs: list[QueuedJob] = []
        self.schedulers: list[str] = []
        self.problems: list[str] = []
        self._has_hidden = False
        self._paths = paths
        self._now = now
        self._asked_s = -math.inf

    def look(self) -> None:
        """Ask the schedulers, if some time has passed since they were asked last."""
        if self._now() - self._asked_s < _ASK_EVERY_S:
            return
        damaged: list[Damage] = []
        self.submissions = read_submissions(self._paths, damaged.append)
        self.problems = [str(damage) for damage in damaged]
        self._ask()
        self._asked_s = self._now()

    def _ask(self) -> None:
        self.jobs, self.schedulers, self._has_hidden = [], [], False
        for launcher, submissions in by_launcher(self.submissions):
            try:
                jobs = launcher.queue(submissions)
            except LauncherError as exc:
                self.problems.append(f"cannot be seen: {exc}")
                continue
            if jobs is None:
                self._has_hidden = True
            else:
                self.jobs += jobs
                self.schedulers.append(launcher.title)

    @property
    def is_submitted(self) -> bool:
        """Whether there are, or were, jobs that may begin the study."""
        return bool(self.submissions or self.problems)

    @property
    def is_over(self) -> bool:
        """Whether all jobs there were had a queue to wait in, and none is there any more."""
        is_known = not self._has_hidden and all(found.job for found in self.submissions)
        return bool(self.submissions) and is_known and not (self.jobs or self.problems)

    @property
    def log_dir(self) -> Path:
        """Below it lies what the jobs have printed."""
        return self._paths.submissions_dir
