"""What sweeper asks of a scheduler, and the schedulers that it knows.

A further one is a folder with ``launcher.py`` and a line in :data:`LAUNCHERS`; the study file's
``to``, which validates before this is imported, names it too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from sweeper.launchers.kubernetes.launcher import KubernetesLauncher
from sweeper.launchers.request import Request
from sweeper.launchers.slurm.launcher import SlurmLauncher
from sweeper.launchers.submission import QueuedJob, Submission
from sweeper.paths import RunPaths


class Cancellation(Protocol):
    """Jobs that are to go, in two steps, between which their agents are asked to stop.

    Both steps raise :class:`~sweeper.errors.LauncherError` if the scheduler is out of reach or
    refuses; the second is taken all the same when the first has failed.
    """

    def begin(self) -> list[str]:
        """Let no further agent start; what was done, a line each."""

    def finish(self, wait_s: float, note: Callable[[str], None]) -> list[str]:
        """Cancel what is left; what was done, a line each.

        Args:
            wait_s: So long jobs may still take to end by themselves.
            note: Told what is waited for.
        """


class Launcher(Protocol):
    """A scheduler that runs a study's agents as jobs.

    Every method but ``cancel`` raises :class:`~sweeper.errors.LauncherError` if it asks the
    scheduler, and that is out of reach or refuses.
    """

    @property
    def name(self) -> str:
        """As ``to`` of the study file has it."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def list_command(self) -> str:
        """What a person types to see the jobs."""

    def show(self, request: Request) -> list[str]:
        """What :meth:`submit` would submit, as text; asks and writes nothing.

        Raises:
            SpecError: If the request has no meaning for this scheduler.
        """

    def submit(self, request: Request, note: Callable[[str], None]) -> str:
        """Submit the agents, with a :class:`.Submission` left in the study's folder.

        Args:
            request: What is wanted.
            note: Told of what the user should know.

        Returns:
            What was done, for people.

        Raises:
            SpecError: As :meth:`show`.
            LauncherError: If the scheduler refuses; then no trace stays.
            UncertainJobError: If nobody knows whether it took the jobs; then one does.
            StoreError: If the study's folder cannot be written.
            StudyError, TrackerError: If the study's stores cannot be where jobs would need them.
        """

    def find(self, submission: Submission) -> str | None:
        """The scheduler's own id of a submission's jobs; None if it has none of that name."""

    def queue(self, submissions: Sequence[Submission]) -> list[QueuedJob] | None:
        """Their jobs, as far as it still shows them; None if it has no queue to look into."""

    def cancel(self, submissions: Sequence[Submission], paths: RunPaths) -> Sequence[Cancellation]:
        """What cancels their jobs and then closes them; should one fail, others may go on."""


_LAUNCHERS: Sequence[Launcher] = (KubernetesLauncher(), SlurmLauncher())
#: By name. Where several are asked, it is in this order.
LAUNCHERS: Mapping[str, Launcher] = {launcher.name: launcher for launcher in _LAUNCHERS}


def by_launcher(
    submissions: Iterable[Submission],
) -> list[tuple[Launcher, list[Submission]]]:
    """Each scheduler that has any of the submissions, with those."""
    own = {name: [found for found in submissions if found.to == name] for name in LAUNCHERS}
    return [(LAUNCHERS[name], found) for name, found in own.items() if found]
