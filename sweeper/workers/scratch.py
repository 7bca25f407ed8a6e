"""A trial that belongs to no study, in this process: nothing of it is kept."""

import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch

from sweeper.config.settings import DataConfig, TrainConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.data.dataset import TrialData, load_data
from sweeper.errors import TrialInterrupted
from sweeper.events import Logged
from sweeper.paths import RunPaths
from sweeper.timing import TimeLedger
from sweeper.training.build import BuildLearner, build_learner
from sweeper.training.learner import Runtime
from sweeper.training.loop import drive, training
from sweeper.training.own_training import run_own_training
from sweeper.training.seed import low_seed
from sweeper.training.user_trial import UserTrial
from sweeper.trial import EpochMetrics
from sweeper.workers.devices import Placement
from sweeper.workers.gpus import seeing_only
from sweeper.workers.memory import resident_limit
from sweeper.workers.process_state import ProcessState
from sweeper.workers.run_environment import telling_run

log = logging.getLogger("sweeper")


class _ScratchReporter:
    """Follows such a trial; see :func:`run_scratch_trial`."""

    def __init__(
        self,
        show: Callable[[EpochMetrics], None],
        follow: Callable[[int, float], None],
        n_reports: int | None,
        n_epochs: int | None,
    ) -> None:
        self.ledger = TimeLedger()  # which nobody reads
        self.history: list[EpochMetrics] = []
        self.n_epochs = n_epochs
        self._show = show
        self._follow = follow
        self._n_reports = n_reports
        self.tags: dict[str, str] = {}

    def is_stopping(self) -> bool:
        return False

    def require_ownership(self) -> None:
        pass

    def show_progress(self, epoch: int, share: float) -> None:
        self._follow(epoch, share)

    def log(self, event: Logged) -> None:
        pass

    def plan_epochs(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def announce(self, metrics: EpochMetrics) -> bool:
        return False

    def report(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        self._show(metrics)
        if len(self.history) == self._n_reports:
            raise TrialInterrupted(f"no more than {self._n_reports} reports are wanted")


def _sharing_run(spec: StudySpec, folder: Path) -> AbstractContextManager[None]:
    """What lets the trial's own code log to a run of it, as in a study, where the file says so."""
    if not spec.shares_runs:
        return nullcontext()
    from sweeper.tracking.scratch_run import make_scratch_run

    run = make_scratch_run(folder / "mlruns", spec.name)
    return telling_run(run, run.store)


def load_scratch_data(
    spec: StudySpec, config: DataConfig, placement: Placement, *, cache_dir: Path
) -> TrialData:
    """What such a trial learns from; raises as :func:`~sweeper.data.dataset.load_data`."""
    device = torch.device(placement.device)
    return load_data(
        config,
        cache_dir=cache_dir,
        seed=spec.seed,
        device=device,
        resident_bytes=resident_limit(device, placement.n_sharing),
    )


def run_scratch_trial(
    spec: StudySpec,
    config: TrialConfig,
    placement: Placement,
    *,
    cache_dir: Path,
    show: Callable[[EpochMetrics], None],
    follow: Callable[[int, float], None] = lambda epoch, share: None,
    number: int = 0,
    n_reports: int | None = None,
    build: BuildLearner = build_learner,
) -> dict[str, Any] | None:
    """Train with a checkpoint folder that is gone afterwards; nothing is pruned.

    Args:
        spec: The study.
        config: Of the trial.
        placement: Where to train.
        cache_dir: Of decoded data.
        show: Told of each epoch.
        follow: Told of each batch, as :meth:`~sweeper.training.reporter.Reporter.show_progress`.
        number: That a training function is told as its trial's.
        n_reports: The trial is interrupted after so many, >= 1; None lets it go to its end.
        build: Makes the learner of built-in training.

    Returns:
        The weights of the epoch that counts, on the CPU; None of training of the user's own.

    Raises:
        TrialInterrupted: After the last report that is wanted.
        BaseException: Whatever training or the user's code raises.
    """
    runtime = Runtime(torch.device(placement.device), spec.run.precision)
    reporter = _ScratchReporter(show, follow, n_reports, config.n_epochs)
    torch.set_num_threads(placement.n_threads)
    runtime.set_float32()  # before, as this is no switch of the user's code
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="sweeper-"))
        sharing = _sharing_run(spec, Path(folder))  # before, as it may load mlflow
        held.enter_context(ProcessState().kept(log.warning))
        held.enter_context(seeing_only(placement.visible))
        held.enter_context(sharing)
        paths = RunPaths(Path(folder), spec.name)
        if not isinstance(config.train, TrainConfig):
            trial = UserTrial(
                number=number,
                seed=low_seed(config.seed),
                device=runtime.device,
                paths=paths,
                objective=spec.objective,
                reporter=reporter,
                keeps_model=spec.tracking.log_models != "none",
            )
            run_own_training(spec, config, trial)
            return None
        assert config.data is not None
        steps = training(
            config,
            load_scratch_data(spec, config.data, placement, cache_dir=cache_dir),
            objective=spec.objective,
            runtime=runtime,
            reporter=reporter,
            checkpoint=paths.checkpoint(number),
            build=build,
        )
        return drive(steps)
