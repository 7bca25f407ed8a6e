"""``sweeper submit``: the study's agents as jobs of a scheduler."""

from collections.abc import Callable

from sweeper.launchers.base import LAUNCHERS
from sweeper.launchers.request import Request


def submit_study(request: Request, *, is_dry: bool, note: Callable[[str], None]) -> list[str]:
    """Submit the study's agents, or show what would be submitted.

    Args:
        request: What is wanted, as :func:`~sweeper.launchers.request.build_request` makes it.
        is_dry: Submit nothing and write nothing.
        note: Told of what the user should know.

    Returns:
        Lines for the user.

    Raises:
        SpecError: If the request has no meaning for the scheduler.
        LauncherError: If the scheduler is out of reach or refuses.
        StoreError: If the study's folder cannot be written.
        StudyError, TrackerError: If Slurm's jobs could not keep the study's stores there.
    """
    assert request.cluster.to is not None
    launcher = LAUNCHERS[request.cluster.to]
    if is_dry:
        return launcher.show(request)
    spec = request.spec
    return [
        launcher.submit(request, note),
        f"watch them: {spec.command('status', '--watch')}",
        f"stop them: {spec.command('cancel')}",
    ]
