"""``sweeper run --debug``: one trial in this process, in this terminal, for a debugger."""

import traceback
from bdb import BdbQuit
from collections.abc import Callable
from pathlib import Path

from sweeper.commands.prepare import prepare_study
from sweeper.config.ranges import Range
from sweeper.config.settings import Scalar, TrialConfig
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import ExitCode, TrialDiverged, TrialInterrupted, TrialPruned
from sweeper.study.failures import FailedTrial, latest_failed, meaning
from sweeper.study.find import FoundStudy
from sweeper.study.samplers.seeds import trial_seed
from sweeper.text import format_values, redacted
from sweeper.trial import EpochMetrics
from sweeper.workers.devices import place_workers
from sweeper.workers.gpus import keep_to_own_gpus


def debug_study(spec: StudySpec, root: Path, show: Callable[[str], None]) -> ExitCode:
    """Run the trial that failed last once more, else one with the first value of every range.

    It belongs to no study: nothing of it is kept, nothing is pruned, no worker is started. So
    ``breakpoint()`` opens a debugger in the terminal.

    Raises:
        SweeperError: If the study cannot be prepared or its storage not be opened.
    """
    keep_to_own_gpus()
    prepared = prepare_study(spec, root, show)
    spec, paths = prepared.spec, prepared.paths
    study = FoundStudy(spec, paths).open()
    failed = latest_failed(study.trials()) if study else None
    config = _config(spec, failed)
    which = f"trial {failed.number}, which failed of {failed.cause}" if failed else "a first trial"
    drawn = ", ".join(f"{name}={config.params[name]}" for name in _drawn(spec, config))
    show(f"{which}: {drawn or 'nothing is searched'}; in this process, nothing of it is kept")
    from sweeper.workers.scratch import run_scratch_trial  # torch

    try:
        run_scratch_trial(
            spec,
            config,
            place_workers(spec)[0],
            cache_dir=paths.cache_dir,
            show=lambda metrics: show(_describe(metrics)),
            number=failed.number if failed else 0,
        )
    except BdbQuit:
        show("left by the debugger")
        return ExitCode.INTERRUPTED
    except (TrialPruned, TrialDiverged, TrialInterrupted) as signal:
        show(f"it ended itself: {type(signal).__name__}: {signal}")
        return ExitCode.GOAL_REACHED
    except (Exception, SystemExit) as exc:
        if state := meaning(exc):
            show(f"it ended itself as {state}: {type(exc).__name__}: {exc}")
            return ExitCode.GOAL_REACHED
        show(redacted("".join(traceback.format_exception(exc))).rstrip())
        return ExitCode.FAILURE
    show("the trial came to its end")
    return ExitCode.GOAL_REACHED


def _config(spec: StudySpec, failed: FailedTrial | None) -> TrialConfig:
    """What it runs with; of a range that the failed trial does not know, the first value."""
    known = failed.params if failed else {}

    def suggest(name: str, values: Range) -> Scalar:
        return known[name] if name in known else first_value(name, values)

    seed = trial_seed(spec.seed, failed.number if failed else 0)
    return suggest_config(spec, suggest, seed=seed)


def _drawn(spec: StudySpec, config: TrialConfig) -> list[str]:
    return [name for name in spec.ranges() if name in config.params]


def _describe(metrics: EpochMetrics) -> str:
    return f"epoch {metrics.epoch}: {format_values(metrics.values, 5)}"
