"""``sweeper run``: work on a study until its goal is reached."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.imports import loading
from sweeper.paths import RunPaths
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.gpus import keep_to_own_gpus

if TYPE_CHECKING:
    from sweeper.config.study import StudySpec
    from sweeper.study.result import Result
    from sweeper.study.study import SweepStudy


@contextmanager
def begun_server() -> Iterator[ForkServer]:
    """What forks workers: it imports torch while this process reads the study file.

    Raises:
        StudyError: If Slurm names the GPUs of this job in a way that is not known.
    """
    keep_to_own_gpus()
    with closing(ForkServer()) as server:
        server.begin()
        yield server


def run_study(
    spec: "StudySpec", *, root: Path, as_json: bool = False, server: ForkServer | None = None
) -> "Result":
    """Work on a study until its goal is reached, its time is over or the user stops it.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        as_json: Print JSON lines instead of a table.
        server: Forks workers; None for one of its own.

    Returns:
        The study as it stands, with the exit code.

    Raises:
        SweeperError: If the data, the storage or the trials do not allow to go on.
    """
    keep_to_own_gpus()
    with ExitStack() as held:
        server = held.enter_context(closing(server or ForkServer()))
        # It imports torch while this process imports all else, and prepares. But where all has
        # been sent, most likely nothing is left to do.
        if RunPaths(root, spec.name).mirrored.exists():
            server.close()
        else:
            server.begin()
        server.require(_modules(spec))
        from sweeper.commands.screen import open_screen
        from sweeper.commands.work import find_finished, show_finished, work_on

        screen = held.enter_context(closing(open_screen(spec.objective, as_json=as_json)))
        server.note = screen.note
        if over := find_finished(spec, root):
            return show_finished(*over, screen).loading(_load_model)
        return work_on(spec, root, screen, server).loading(_load_model)


def _modules(spec: "StudySpec") -> tuple[str, ...]:
    """What workers of this study import, and others do without."""
    from sweeper.data.labelled.location import reading_modules
    from sweeper.study.samplers.auto import drawing_modules

    return (*drawing_modules(spec), *reading_modules(spec))


def _load_model(study: "SweepStudy", number: int) -> Any:
    with loading("MLflow's models"):
        from sweeper.tracking.load import load_model

    return load_model(study, number)
