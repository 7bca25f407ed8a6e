"""``sweeper submit``: the study's agents as jobs of a scheduler."""

from collections.abc import Callable

from sweeper.launchers.base import LAUNCHERS
from sweeper.launchers.request import Request


def submit_study(request: Request, *, is_dry: bool, note: Callable[[str], None]) -> list[str]:
    """Submit the study's agents, or show what would be submitted: lines for the user.

    Raises as :meth:`.Launcher.submit`; of a dry run as :meth:`.Launcher.show`.
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
