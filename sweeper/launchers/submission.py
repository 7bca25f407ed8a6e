"""What is known of jobs that were submitted: a file written before the scheduler is asked.

Should the command die between, the file says so, and ``doctor`` explains it. Jobs are found again
by their name, which holds the submission's own: after a crash of its controller Slurm may give
the same job id twice.
"""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from sweeper.config.cluster import OWN_KEYS
from sweeper.config.names import Id
from sweeper.config.records import read_record
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import LauncherError, StoreError, UncertainJobError
from sweeper.launchers.request import Request
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
        context: kubectl's of that time; None where it had none, as in a pod.
        namespace: The same.
    """

    name: Id
    study: str
    to: str
    begun_s: float
    job: str | None = None
    context: str | None = None
    namespace: str | None = None

    @classmethod
    def new(cls, study: str, to: str) -> Self:
        """One that nobody has heard of yet."""
        return cls(uuid.uuid4().hex[:8], study, to, time.time())

    @property
    def job_name(self) -> str:
        """Begins the name of each of its jobs."""
        return f"sweeper-{self.study}-{self.name}"

    def hand_over(self, request: Request, text: str, ask: Callable[[Path], str]) -> str:
        """Ask the scheduler for the jobs, with a trace of it before and its answer after.

        Args:
            request: What is wanted.
            text: What the scheduler is given.
            ask: Gives it to the scheduler from a file that holds it; the scheduler's id of the
                jobs.

        Returns:
            That id.

        Raises:
            LauncherError: If the scheduler refuses; then no trace stays. One does if nobody knows
                whether it took the jobs.
            StoreError: If the study's folder cannot be written.
        """
        paths = request.paths
        with _writing(paths, "nothing was submitted"):
            path = self._begin(paths, text)
        try:
            job = ask(path)
        except UncertainJobError as exc:
            raise UncertainJobError(
                f"{exc}\nNobody knows whether the jobs were taken; "
                f"`{request.spec.command('doctor')}` looks for {self.job_name}"
            ) from exc
        except LauncherError as exc:
            with _writing(paths, f"nothing was submitted, as {exc}"):
                self.forget(paths)
            raise
        with _writing(paths, f"the jobs were submitted as {job}"):
            self.note_job(paths, job)
        return job

    def _begin(self, paths: RunPaths, text: str) -> Path:
        path = paths.job_script(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whether the scheduler has the jobs must be found out even if this machine loses power.
        with (
            durable(Step.SUBMIT),
            replace_file(paths.submission(self.name), sync_folder=True) as aside,
        ):
            path.write_text(text, encoding="utf-8")
            aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    def note_job(self, paths: RunPaths, job: str) -> None:
        """Note that the scheduler has taken the jobs, under that id."""
        submission = paths.submission(self.name)
        with durable(Step.SUBMITTED), replace_file(submission, sync_folder=True) as aside:
            aside.write_text(json.dumps(asdict(replace(self, job=job))), encoding="utf-8")

    def forget(self, paths: RunPaths) -> None:
        """Remove all traces of it, as the scheduler has none of its jobs."""
        with durable(Step.SUBMITTED):
            shutil.rmtree(paths.submission(self.name).parent)

    def close(self, paths: RunPaths) -> None:
        """Know of it no more, as its jobs are gone; what they printed stays.

        Raises:
            StoreError: If the study's folder cannot be written.
        """
        with _writing(paths, f"{self.job_name} is cancelled"), durable(Step.SUBMITTED):
            paths.submission(self.name).unlink(missing_ok=True)

    def logs(self, paths: RunPaths) -> list[Path]:
        """Files with what its jobs printed, where they could write here."""
        return sorted(paths.submission(self.name).parent.glob("*.log"))


@dataclass(frozen=True)
class QueuedJob:
    """A job as its scheduler shows it."""

    id: str
    name: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id} {self.state.lower()} ({self.reason})"


@contextmanager
def _writing(paths: RunPaths, state: str) -> Iterator[None]:
    """Say what has become of the jobs if the study's folder fails."""
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"{paths.submissions_dir}: cannot be written ({exc}); {state}. Make room, or see to "
            "its permissions"
        ) from exc


@dataclass(frozen=True)
class Damage:
    """A submission's file that cannot be read.

    Attributes:
        path: Of the file.
        what: Is wrong with it.
        advice: What the user can do.
    """

    path: Path
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.advice}"


def read_submissions(paths: RunPaths, tell: Callable[[Damage], object]) -> list[Submission]:
    """All of a study, the earliest first.

    Args:
        paths: Files of the study.
        tell: Told of each that is damaged, which is left out.
    """
    found = []
    for path in sorted(paths.submissions_dir.glob("*/submission.json")):
        try:
            found.append(_read(path, paths.study))
        except (OSError, ValueError, RecursionError) as exc:
            advice = (
                f"look for its jobs, named *-{path.parent.name}, with the scheduler's own "
                "command, then remove that folder"
            )
            tell(Damage(path, f"cannot be read ({exc})", advice))
    return sorted(found, key=lambda submission: submission.begun_s)


def _read(path: Path, study: str) -> Submission:
    """A submission from its file, which may come from another machine.

    Raises:
        ValueError: If it is not one of that study, or of that folder.
    """
    found = read_record(Submission, json.loads(path.read_text(encoding="utf-8")))
    if (found.name, found.study) != (path.parent.name, study):
        raise ValueError(f"it is of submission {found.name!r} of study {found.study!r}")
    if found.to not in OWN_KEYS:
        raise ValueError(f"there is no scheduler {found.to!r}")
    return found
