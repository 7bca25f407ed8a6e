"""One claimed trial in a worker, from the draw of its settings to its last batch."""

import os
import socket
from bdb import BdbQuit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

import torch

from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.config.user_code import code_digest, references
from sweeper.data.dataset import TrialData, load_data
from sweeper.durable import Step, durable
from sweeper.errors import ProgramError, SpecError, TrainingError
from sweeper.models.build import model_params
from sweeper.study.agents import job_of
from sweeper.study.attributes import settle_data
from sweeper.study.code_versions import keep_code_version
from sweeper.study.running_trial import RunningTrial
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.timing import Entry, TimeLedger
from sweeper.training.build import BuildLearner, build_learner
from sweeper.training.checkpoint import save_checkpoint
from sweeper.training.learner import Runtime
from sweeper.training.loop import training
from sweeper.training.own_training import run_own_training
from sweeper.training.packed.capture import CudaCapture
from sweeper.training.packed.packs import Membership, Packs
from sweeper.training.seed import low_seed
from sweeper.training.user_trial import UserTrial
from sweeper.workers.cgroup import count_memory_kills
from sweeper.workers.devices import join_names
from sweeper.workers.lane_plan import LanePlan
from sweeper.workers.memory import resident_limit
from sweeper.workers.process_state import ProcessState
from sweeper.workers.protocol import WorkerArgs
from sweeper.workers.run_environment import await_run, telling_run
from sweeper.workers.signals import StopRequest

#: Seconds between two checkpoints of a trial that has others beside it: an epoch of each would
#: cost small trials more than their training does. What is done again after a fault is an epoch,
#: or where those are shorter than this, at most twice this.
_SAVE_EVERY_S = 5.0


class TrialRunner:
    """Does the work of claimed trials.

    Args:
        args: What the agent said.
        study: Of the trials.
        stopping: Set when the process must end after the current batch.
        plan: How trials are trained.
        ledger: Where the import of the user's code is booked.
        note: Lets the agent tell the user.

    Attributes:
        runtime: Where to compute.
        code: Version of the study's own code; empty if it has none.
        packs: Of the learners of trials that have their steps in turns; None without packs.
    """

    def __init__(
        self,
        args: WorkerArgs,
        study: SweepStudy,
        stopping: StopRequest,
        *,
        plan: LanePlan,
        ledger: TimeLedger,
        note: Callable[[str], None],
    ) -> None:
        self._args = args
        self._plan = plan
        self._study = study
        self._stopping = stopping
        self._note = note
        self._noted: set[str] = set()
        self._remark = ""  # on the data of the latest trial
        self.runtime = Runtime(torch.device(args.place.device), study.spec.run.precision)
        self.packs = self._new_packs()
        self.code = code_digest(study.spec)
        self._is_code_kept = False  # once is enough, as it never changes in a worker
        if self.code != args.code:
            self._note(
                f"your own code was changed while the command runs: a worker that began now has "
                f"version {self.code}, the others {args.code}"
            )
        if self.code:
            self._import_user_code(ledger)
            self.runtime.set_float32()
        self._state = ProcessState() if self.code else None

    def _new_packs(self) -> Packs | None:
        plan = self._plan
        if not plan.is_captured and plan.n_packed == 1:
            return None
        return Packs(
            plan.n_packed,
            self._note_once,
            partial(CudaCapture, self.runtime.device) if plan.is_captured else None,
            takes_all=plan.packs_all,
        )

    def _import_user_code(self, ledger: TimeLedger) -> None:
        """Import it before any trial, so that what it switches then holds for all of them."""
        with ledger.booked(Entry.IMPORT):
            for _, reference in references(self._study.spec):
                with suppress(SpecError):  # which is the cause of a trial that needs it
                    load_reference(reference)

    def steps(self, trial: RunningTrial, *, lane: int | None) -> Iterator[None]:
        """Draw what a trial runs with and train it, a batch at each step where that is built in.

        Args:
            trial: That was claimed.
            lane: Its place among those that have their steps in turns; None if nobody else has.

        Raises:
            TrainingError, DataError, SpecError, StudyError, StoreError: If it cannot be trained.
            TrialInterrupted, TrialPruned, TrialDiverged, TrialLost: To end it.
            BaseException: Whatever its own code raises.
        """
        steps = self._train(trial, lane)
        if self._state is None:
            return steps
        if lane is not None:
            return self._state.in_turns(steps, self._note)
        return self._keeping_state(self._state, steps)

    def _keeping_state(self, state: ProcessState, steps: Iterator[None]) -> Iterator[None]:
        with state.kept(self._note):
            yield from steps

    def _train(self, trial: RunningTrial, lane: int | None) -> Iterator[None]:
        config = trial.draw()
        tags = self._tags(config, trial)
        if self.code and not self._is_code_kept:
            study = self._study
            keep_code_version(study.attributes, self.code, trial.number)
            self._is_code_kept = True
        try:
            if isinstance(config.train, TrainConfig):
                if lane is not None:
                    tags |= {"lane": str(lane), **self._pack_tag}
                every_s = 0.0 if lane is None else _SAVE_EVERY_S
                with self._building(trial, lane) as build:
                    yield from self._train_model(
                        config, trial, tags, build=build, save_every_s=every_s
                    )
            else:
                self._run_own(config, trial, tags)
        except BdbQuit as exc:
            raise TrainingError(f"a debugger: {no_terminal(self._study.spec)}") from exc

    def _run_own(self, config: TrialConfig, trial: RunningTrial, tags: Mapping[str, str]) -> None:
        trial.start(None, config.model, params={}, tags=tags)
        user_trial = UserTrial(
            number=trial.number,
            seed=low_seed(config.seed),
            device=self.runtime.device,
            paths=self._study.paths,
            objective=self._study.spec.objective,
            reporter=trial,
            keeps_model=self._study.spec.tracking.log_models != "none",
            note=self._note_once,
        )
        with self._sharing_run(trial):
            self._train_own(config, user_trial)

    def _train_own(self, config: TrialConfig, trial: UserTrial) -> None:
        n_kills = count_memory_kills()
        try:
            run_own_training(self._study.spec, config, trial)
        except ProgramError as exc:
            if exc.is_killed and count_memory_kills() > n_kills:
                raise MemoryError(f"{exc}; the kernel was out of memory") from exc
            raise

    @contextmanager
    def _sharing_run(self, trial: RunningTrial) -> Iterator[None]:
        """Let the trial's own code log to its run in MLflow, where the file says so."""
        if not self._study.spec.shares_runs:
            yield
            return
        path, uri = self._study.paths.mlflow_run(trial.number), self._args.tracking_uri
        with trial.ledger.booked(Entry.WAITING):
            run = await_run(
                path, uri=uri, resumed=trial.resumed, stopping=self._stopping, tell=self._note
            )
        with telling_run(run, uri):
            yield

    @property
    def _pack_tag(self) -> dict[str, str]:
        """Of how many at most a trial may be computed as one; its numbers are near those alone."""
        n_packed = self._plan.n_packed
        return {"pack": str(n_packed)} if n_packed > 1 else {}

    @contextmanager
    def _building(self, trial: RunningTrial, lane: int | None) -> Iterator[BuildLearner]:
        """What builds a trial's learner, which is in a pack at most within a ``with`` block."""
        if self.packs is None:
            yield build_learner
            return
        try:
            yield build_learner if lane is None else partial(self.packs.build, name=trial.number)
        finally:
            trial.last_tags = self._membership_tags(self.packs.leave(trial.number))

    def _membership_tags(self, membership: Membership | None) -> dict[str, str]:
        """In which pack a trial was, and with how many, itself included, it was computed."""
        if self._plan.n_packed == 1:
            return {}
        if membership is None:
            return {"packed": "1"}
        pack = f"{self._args.name}/{membership.pack}"
        return {"packed": str(membership.most), "packed_in": pack}

    def _train_model(
        self,
        config: TrialConfig,
        trial: RunningTrial,
        tags: Mapping[str, str],
        *,
        build: BuildLearner,
        save_every_s: float,
    ) -> Iterator[None]:
        assert config.data is not None
        assert config.model is not None
        data = self._load(config.data, trial.ledger)
        with trial.ledger.booked(Entry.MODEL):  # a first one of torchvision has it imported
            arguments = model_params(config.model.architecture, config.model.params)
        defaults = {
            f"model.{key}": value
            for key, value in arguments.items()
            if key not in config.model.params and isinstance(value, bool | int | float | str)
        }
        model = ModelConfig(architecture=config.model.architecture, params=arguments)
        if self._study.spec.tracking.log_models != "none":
            self._keep_preprocessing(data, trial)
        trial.start(data.info, model, params=defaults, tags=tags)
        weights = yield from training(
            config,
            data,
            objective=self._study.spec.objective,
            runtime=self.runtime,
            reporter=trial,
            checkpoint=self._study.paths.checkpoint(trial.number),
            build=build,
            save_every_s=save_every_s,
        )
        if self._study.spec.tracking.log_models != "none":
            with trial.ledger.booked(Entry.CHECKPOINT):
                save_checkpoint(self._study.paths.model(trial.number), weights)

    @store_errors()
    def _keep_preprocessing(self, data: TrialData, trial: RunningTrial) -> None:
        """Write it, unless a trial on the same data has, before a log names it."""
        if data.preprocessing is None:
            return
        paths = self._study.paths
        path = paths.preprocessing(data.preprocessing.digest)
        if path.exists():
            return
        with trial.ledger.booked(Entry.CHECKPOINT):
            own = paths.own_preprocessing(trial.number)  # several workers may be at it
            save_checkpoint(own, data.preprocessing.state())
            path.parent.mkdir(exist_ok=True)
            with durable(Step.CHECKPOINT_RENAME):
                os.replace(own, path)

    def _load(self, config: DataConfig, ledger: TimeLedger) -> TrialData:
        """Load a trial's data, and see that they are those of the trials before it."""
        with ledger.booked(Entry.DATA):
            data = load_data(
                config,
                cache_dir=self._study.paths.cache_dir,
                seed=self._study.spec.seed,
                device=self.runtime.device,
                label=self._args.data_label,
                resident_bytes=resident_limit(self.runtime.device, self._args.place.n_sharing),
            )
        if data.remark not in ("", self._remark):
            self._note(data.remark)
        self._remark = data.remark
        loaded = (config.name, config.validation, sorted(config.params.items()))
        settle_data(self._study.attributes, repr(loaded), data.info)
        return data

    def _tags(self, config: TrialConfig, trial: RunningTrial) -> dict[str, str]:
        return {
            **self._args.tags,
            **({"code": self.code} if self.code else {}),
            "sampler": self._study.sampler.explain()[0],
            **({"drawn_by": trial.drawn_by} if trial.drawn_by else {}),
            "seed": str(config.seed),
            "device": join_names(self._args.place.devices),
            "precision": self.runtime.precision,
            "host": socket.gethostname(),
            "threads": str(self._args.place.n_threads),
            **({"job": job} if (job := job_of(os.environ)) else {}),
        }

    def _note_once(self, text: str) -> None:
        """Tell what trial after trial would say."""
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


def no_terminal(spec: StudySpec) -> str:
    """What to say to user code that wants to be debugged in a worker."""
    return (
        "a trial in a worker has no terminal to debug in; "
        f"`{spec.command('run', '--debug')}` runs one in yours"
    )
