"""``train.mlflow: trial``: the trial's own code finds the trial's run as MLflow's active one."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import TrialInterrupted
from sweeper.mlflow_run import MlflowRun
from sweeper.text import redacted
from sweeper.workers.signals import StopRequest

log = logging.getLogger("sweeper")

#: So long a trial waits for its run; then it goes back, as another machine may reach MLflow.
WAIT_S = 60.0
_POLL_S = 0.1
#: Said beside an id, it must be the same experiment's; the user may have set it for other runs.
_EXPERIMENT_NAME = "MLFLOW_EXPERIMENT_NAME"
#: How MLflow is told to give up at once, by whom nobody waits for.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}


def await_run(
    path: Path,
    *,
    uri: str,
    resumed: int,
    stopping: StopRequest,
    tell: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> MlflowRun:
    """Wait for the run that the mirror makes of the trial's start.

    Args:
        path: Where it is left.
        uri: Of the store that this command sends to.
        resumed: As the trial's start says.
        stopping: Whether the process must end.
        tell: Told if there is no run in time.
        now: Seconds of a clock that never goes back.

    Raises:
        TrialInterrupted: If the process must end, or there is no run in time.
    """
    deadline_s = now() + WAIT_S
    while not stopping.is_set():
        run = _load(path)
        if run is not None and run.is_for(uri, resumed):
            return run
        if now() > deadline_s:
            is_elsewhere = run is not None and run.store != redacted(uri)
            why = f", as another command sends to {run.store}" if run and is_elsewhere else ""
            cause = f"MLflow at {redacted(uri)} had no run for it within {WAIT_S:.0f} s{why}"
            tell(f"a trial goes back to waiting: {cause}; train.mlflow: trial needs one")
            raise TrialInterrupted(cause)
        stopping.wait(_POLL_S)
    raise TrialInterrupted("stopped while it waited for its run in MLflow")


def _load(path: Path) -> MlflowRun | None:
    try:
        return MlflowRun.load(path)
    except (ValueError, RecursionError) as exc:
        log.warning("%s: unreadable (%s); it is left anew at the next start", path, exc)
        path.unlink(missing_ok=True)
        return None


@contextmanager
def telling_run(run: MlflowRun, uri: str) -> Iterator[None]:
    """Let code of the block, and processes that it starts, log to the run.

    MLflow takes the id out of the environment once it has it. A run that is left open is closed,
    or what the next trial in this process logs would go there.

    Args:
        run: Of the trial.
        uri: Of its store.
    """
    with _environment(run.variables(uri), without=(_EXPERIMENT_NAME,)):
        try:
            yield
        finally:
            _close_open_runs()


@contextmanager
def _environment(variables: Mapping[str, str], without: tuple[str, ...] = ()) -> Iterator[None]:
    names = (*variables, *without)
    before = {name: os.environ[name] for name in names if name in os.environ}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _close_open_runs() -> None:
    """As MLflow does at the end of a process; it is imported only if the trial's code has."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None:
        return
    with _environment(_IMPATIENT):
        try:
            while mlflow.active_run() is not None:
                mlflow.end_run()
        except Exception as exc:  # the mirror says how the trial ended, so nothing is lost
            log.warning("MLflow was not told that a run is closed: %s", redacted(str(exc)))
