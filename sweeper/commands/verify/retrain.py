"""One trial trained again, alone; nothing of it is kept."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from sweeper.commands.redrawn import Redrawn
from sweeper.commands.verify.conditions import CannotVerifyError, Conditions
from sweeper.config.study import StudySpec
from sweeper.errors import TrialDiverged, TrialInterrupted, TrialPruned
from sweeper.study.failures import meaning
from sweeper.study.recorded_trial import RecordedTrial
from sweeper.text import redacted
from sweeper.trial import EpochMetrics, TrialState

#: So often a terminal is drawn anew, and so often a log has a line.
_DRAW_S, _SAY_S = 0.2, 30.0

Follow = Callable[[int, float], None]


@dataclass(frozen=True)
class Run:
    """What one training alone came to.

    Attributes:
        history: What it reported.
        weights: Of the epoch that counts; None if it was ended before its last epoch, and of
            training of the user's own.
    """

    history: tuple[EpochMetrics, ...]
    weights: dict[str, Any] | None


def require_data(
    spec: StudySpec, trial: RecordedTrial, conditions: Conditions, cache_dir: Path
) -> None:
    """See that the data are those that the trial was trained on.

    Raises:
        CannotVerifyError: If they are others.
        DataError: If they are not to be had.
    """
    there = trial.starts[-1].data
    if there is None or trial.config.data is None:
        return
    from sweeper.workers.scratch import load_scratch_data  # torch

    data = load_scratch_data(spec, trial.config.data, conditions.placement, cache_dir=cache_dir)
    if data.info.fingerprint != there.fingerprint:
        raise CannotVerifyError(
            f"the data have changed: it was trained on fingerprint {there.fingerprint}, and here "
            f"is {data.info.fingerprint}: bring the same rows back, then verify it"
        )


def train_alone(
    spec: StudySpec,
    trial: RecordedTrial,
    conditions: Conditions,
    *,
    cache_dir: Path,
    follow: Follow,
    is_rounded_otherwise: bool,
) -> Run:
    """Train it from its first epoch on, to its end, or to where it was pruned.

    Args:
        spec: The study file.
        trial: What is recorded of it.
        conditions: Where, and in which precision.
        cache_dir: Of decoded data.
        follow: Told how far the epoch under way is.
        is_rounded_otherwise: Whether it begins with weights whose last bit differs; of built-in
            training.

    Raises:
        Exception: Whatever training or the user's code raises.
    """
    from sweeper.training.build import build_learner  # torch
    from sweeper.training.rounding import build_rounded_otherwise
    from sweeper.workers.scratch import run_scratch_trial

    history: list[EpochMetrics] = []

    def show(metrics: EpochMetrics) -> None:
        history.append(metrics)
        follow(metrics.epoch, 1.0)

    weights = None
    is_complete = trial.state == TrialState.COMPLETE
    # Its own code may print, and what this command prints is read by scripts.
    with redirect_stdout(sys.stderr), _ends():
        weights = run_scratch_trial(
            replace(
                spec,
                run=replace(spec.run, precision=conditions.precision),
                tracking=replace(spec.tracking, log_models="none"),
            ),
            trial.config,
            conditions.placement,
            cache_dir=cache_dir,
            show=show,
            follow=follow,
            number=trial.number,
            n_reports=None if is_complete else len(trial.history),
            build=build_rounded_otherwise if is_rounded_otherwise else build_learner,
        )
    return Run(tuple(history), weights)


@contextmanager
def _ends() -> Iterator[None]:
    """Whatever lets a trial end, but does not fail it."""
    with suppress(TrialInterrupted, TrialPruned, TrialDiverged):
        try:
            yield
        except (Exception, SystemExit) as exc:
            if meaning(exc) is None:
                raise


@contextmanager
def shown(words: str, n_epochs: int, note: Callable[[str], None]) -> Iterator[Follow]:
    """Show how far a training is: in one place of a terminal, or in a line now and then.

    Args:
        words: What is trained.
        n_epochs: Epochs that it has.
        note: Told where there is no terminal.
    """
    with _place(note) as (draw, every_s):
        drawn_s = time.monotonic()
        draw(words)

        def follow(epoch: int, share: float) -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= every_s:
                drawn_s = time.monotonic()
                draw(f"{words}: epoch {epoch} of {n_epochs}, {share:.0%} of it done")

        yield follow


@contextmanager
def _place(note: Callable[[str], None]) -> Iterator[tuple[Callable[[str], None], float]]:
    """Where progress is shown, and how often."""
    if not sys.stderr.isatty():
        yield note, _SAY_S
        return
    with closing(Redrawn(Console(stderr=True))) as screen:
        yield lambda line: screen.draw(Text(redacted(line))), _DRAW_S
