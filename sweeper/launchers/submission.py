"""What is known of jobs that were submitted: a file written before the scheduler is asked.

Should the command die between, the file says so, and ``doctor`` explains it. Jobs are found again
by their name, which holds the submission's own: after a crash of its controller Slurm may give
the same job id twice.
"""

import json
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from sweeper.durable import Step, durable
from sweeper.errors import LauncherError, UncertainJobError
from sweeper.paths import RunPaths


@dataclass(frozen=True)
class Submission:
    """Jobs of one study, submitted at once, and those that follow them.

    Attributes:
        name: Unique among all submissions; the name of each of its jobs begins with
            :attr:`job_name`.
        study: That they work on.
        to: The scheduler.
        begun_s: When, in seconds since the Unix epoch.
        job: The scheduler's own id of them, for people; None until it has answered.
    """

    name: str
    study: str
    to: str
    begun_s: float
    job: str | None = None

    @classmethod
    def new(cls, study: str, to: str) -> Self:
        """One that nobody has heard of yet."""
        return cls(uuid.uuid4().hex[:8], study, to, time.time())

    @property
    def job_name(self) -> str:
        """Begins the name of each of its jobs."""
        return f"sweeper-{self.study}-{self.name}"

    def hand_over(self, paths: RunPaths, text: str, ask: Callable[[Path], str]) -> str:
        """Ask the scheduler for the jobs, with a trace of it before and its answer after.

        Args:
            paths: Files of the study.
            text: What the scheduler is given.
            ask: Gives it to the scheduler from a file that holds it; the scheduler's id of the
                jobs.

        Returns:
            That id.

        Raises:
            LauncherError: If the scheduler refuses; then no trace stays. One does if nobody knows
                whether it took the jobs.
        """
        path = self._begin(paths, text)
        try:
            job = ask(path)
        except UncertainJobError as exc:
            raise UncertainJobError(
                f"{exc}\nNobody knows whether the jobs were taken; `sweeper doctor` on the study "
                f"looks for {self.job_name}"
            ) from exc
        except LauncherError:
            self.forget(paths)
            raise
        self.note_job(paths, job)
        return job

    def _begin(self, paths: RunPaths, text: str) -> Path:
        path = paths.job_script(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._aside(paths)
        with durable(Step.SUBMIT):
            path.write_text(text, encoding="utf-8")
            aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
            aside.replace(paths.submission(self.name))
        return path

    def note_job(self, paths: RunPaths, job: str) -> None:
        """Note that the scheduler has taken the jobs, under that id."""
        aside = self._aside(paths)
        with durable(Step.SUBMITTED):
            aside.write_text(json.dumps(asdict(replace(self, job=job))), encoding="utf-8")
            aside.replace(paths.submission(self.name))

    def _aside(self, paths: RunPaths) -> Path:
        return paths.submission(self.name).with_suffix(".tmp")

    def forget(self, paths: RunPaths) -> None:
        """Remove all traces of it, as the scheduler has none of its jobs."""
        with durable(Step.SUBMITTED):
            shutil.rmtree(paths.submission(self.name).parent)


def read_submissions(paths: RunPaths) -> list[Submission]:
    """All of a study, the earliest first.

    Raises:
        LauncherError: If a file of them is damaged.
    """
    found = [_read(path) for path in paths.submissions_dir.glob("*/submission.json")]
    return sorted(found, key=lambda submission: submission.begun_s)


def slurm_job_names(paths: RunPaths) -> list[str]:
    """What the names of a study's Slurm jobs begin with; raises as :func:`read_submissions`."""
    return [found.job_name for found in read_submissions(paths) if found.to == "slurm"]


def _read(path: Path) -> Submission:
    try:
        return Submission(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as exc:
        raise LauncherError(
            f"{path}: cannot be read ({exc}); look for its jobs, named *-{path.parent.name}, with "
            "the scheduler's own command, then remove that folder"
        ) from exc
