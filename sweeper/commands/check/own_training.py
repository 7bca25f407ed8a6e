"""A function or a program of the user's own, run up to its first report."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.commands.check.model import origin
from sweeper.config.settings import FunctionConfig, TrainConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.errors import (
    SweeperError,
    TrainingError,
    TrialDiverged,
    TrialInterrupted,
    TrialPruned,
)
from sweeper.study.failures import meaning
from sweeper.text import format_values
from sweeper.trial import EpochMetrics
from sweeper.workers.devices import Placement
from sweeper.workers.scratch import run_scratch_trial

#: So long check waits for the first report of a function or a program.
_CALL_S = 60


def try_own_training(
    spec: StudySpec, config: TrialConfig, placement: Placement, *, cache_dir: Path
) -> str:
    """Let a function or a program run up to its first report, in a trial that is of no study.

    Returns:
        What came of it, in words.

    Raises:
        TrainingError: If it raises, or ends without a report.
    """
    assert not isinstance(config.train, TrainConfig)
    reported: list[EpochMetrics] = []
    begun = time.perf_counter()
    try:
        with _no_longer_than(_CALL_S):
            run_scratch_trial(
                spec, config, placement, cache_dir=cache_dir, show=reported.append, n_reports=1
            )
    except TrialInterrupted:
        pass
    except (TrialPruned, TrialDiverged) as signal_:
        return f"ended itself: {type(signal_).__name__}: {signal_}"
    except SweeperError:
        raise
    except (Exception, SystemExit) as exc:
        if state := meaning(exc):
            return f"ended itself as {state}: {type(exc).__name__}: {exc}"
        assert isinstance(config.train, FunctionConfig)
        name = config.train.function
        raise TrainingError(
            f"{name} raised {type(exc).__name__}: {exc}{origin(name, exc)}"
        ) from exc
    if not reported:
        return f"has reported nothing in {_CALL_S} s, and check waits no longer"
    values = format_values(reported[0].values, 5)
    return f"reported {values} in {time.perf_counter() - begun:.2g} s, and was ended there"


@contextmanager
def _no_longer_than(seconds: int) -> Iterator[None]:
    """End what runs too long; only a main thread can."""

    def end(*_: object) -> None:
        raise TrialInterrupted(f"nothing in {seconds} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
