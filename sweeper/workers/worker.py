"""What claims trials and trains them until the goal is reached.

A worker lives as long as there is work, so torch, the data and the device are loaded once, not
once a trial. It never talks to MLflow.
"""

import logging
import os
import socket
import time
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial

import torch

from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.config.user_code import code_digest, references
from sweeper.data.dataset import TrialData, load_data
from sweeper.durable import Step, durable
from sweeper.errors import ProgramError, SpecError, TrainingError, TrialInterrupted
from sweeper.models.build import model_params
from sweeper.study.agents import job_of
from sweeper.study.attributes import settle_data, wants_device_alone
from sweeper.study.code_versions import keep_code_version
from sweeper.study.conclude import conclude
from sweeper.study.failures import is_over
from sweeper.study.ownership import Ownership
from sweeper.study.running_trial import RunningTrial
from sweeper.study.sampler_in_use import AskingBudget
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.timing import Entry, TimeLedger
from sweeper.training.checkpoint import save_checkpoint
from sweeper.training.learner import Runtime
from sweeper.training.loop import train
from sweeper.training.own_training import run_own_training
from sweeper.training.seed import low_seed
from sweeper.training.user_trial import UserTrial
from sweeper.trial import TrialState
from sweeper.workers.cgroup import count_memory_kills
from sweeper.workers.devices import join_names
from sweeper.workers.memory import Room, resident_limit, return_device_memory, return_freed_memory
from sweeper.workers.process_state import ProcessState
from sweeper.workers.protocol import WorkerArgs
from sweeper.workers.run_environment import await_run, telling_run
from sweeper.workers.signals import StopRequest

log = logging.getLogger("sweeper")

_POLL_S = 0.2


class _UnwantedError(Exception):
    """No trial wants the device alone any more."""


class Worker:
    """Works on one study on one device.

    Args:
        args: What the agent said.
        study: What to work on.
        stopping: Set when it must end after the current batch.
        tell: Lets the agent tell the user.
        tell_epochs: Lets the agent show how many epochs of a trial are done, parts included.
    """

    def __init__(
        self,
        args: WorkerArgs,
        study: SweepStudy,
        stopping: StopRequest,
        *,
        tell: Callable[[str], None],
        tell_epochs: Callable[[int, float], None],
    ) -> None:
        self._args = args
        self._study = study
        self._stopping = stopping
        self._tell = tell
        self._tell_epochs = tell_epochs
        self._odd_metrics: set[str] = set()
        self._noted: set[str] = set()
        self._remark = ""  # on the data of the latest trial
        self._runtime = Runtime(torch.device(args.device), study.spec.run.precision)
        self._asking = AskingBudget(study.sampler, study.cache, self._note)
        self._rooms = [Room(study.paths.device_room(device)) for device in args.devices]
        self._transfer = (
            TrialTransfer(study.object_store, study.paths, self._note)
            if study.object_store
            else None
        )
        self._failed_before = frozenset(args.failed_before)
        self._code = code_digest(study.spec)
        self._is_code_kept = False  # once is enough, as it never changes in a worker
        if self._code != args.code:
            self._note(
                f"your own code was changed while the command runs: a worker that began now has "
                f"version {self._code}, the others {args.code}"
            )
        self._ledger = TimeLedger(max(0.0, time.time() - args.given_s))
        if self._code:
            self._import_user_code()
            self._runtime.set_float32()
        self._state = ProcessState() if self._code else None

    def _import_user_code(self) -> None:
        """Import it before any trial, so that what it switches then holds for all of them."""
        with self._ledger.booked(Entry.IMPORT):
            for _, reference in references(self._study.spec):
                with suppress(SpecError):  # which is the cause of a trial that needs it
                    load_reference(reference)

    def work(self) -> None:
        """Claim and train until the goal is reached, or it makes no sense to go on.

        Raises:
            StoreError: If disk or storage fail.
            TrialLost: If the agent's lease ran out and its trials were taken over.
        """
        with suppress(TrialInterrupted):
            while self._is_needed():
                if not self._work_once(alone=False) and not (
                    self._is_alone_wanted() and self._work_once(alone=True)
                ):
                    with self._ledger.booked(Entry.WAITING):
                        self._stopping.wait(_POLL_S)

    @store_errors()
    def _is_needed(self) -> bool:
        with self._ledger.booked(Entry.CLAIM):
            if self._stopping.is_set():
                return False
            return not is_over(self._study.cache, self._study.goal, self._failed_before)

    @store_errors()
    def _is_alone_wanted(self) -> bool:
        return any(map(wants_device_alone, self._study.cache.look().waiting))

    def _work_once(self, *, alone: bool) -> bool:
        """Run the next trial, beside others or alone on the device; False if none waits.

        The device comes before the claim, so that no trial runs while it still waits for it.
        """
        while_waiting = partial(self._while_waiting, alone=alone)
        try:
            with ExitStack() as held:
                with self._ledger.booked(Entry.WAITING):
                    # In the order of devices, so that nobody waits in turn.
                    for room in self._rooms:
                        held.enter_context(room.entered(alone=alone, while_waiting=while_waiting))
                trial = self._claim(alone=alone)
                if trial is None:
                    return False
                with trial:
                    state = conclude(trial, partial(self._run, trial))
                    self._tell_of_odd_metrics(trial)
                return_freed_memory()
        except _UnwantedError:
            return False
        has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        if has_cuda and state == TrialState.FAILED:
            torch.cuda.synchronize(self._runtime.device)  # some errors spoil the whole process
        return True

    def _while_waiting(self, *, alone: bool) -> None:
        if self._stopping.is_set():
            raise TrialInterrupted("stopped while it waited for the device")
        if alone and not self._is_alone_wanted():
            raise _UnwantedError
        return_device_memory(self._runtime.device)

    @store_errors()
    def _claim(self, *, alone: bool) -> RunningTrial | None:
        with self._ledger.booked(Entry.CLAIM):
            but = self._transfer.postponed() if self._transfer else ()
            agent, worker = self._args.agent, self._args.name
            claimed = self._study.queue.claim(agent, worker, alone=alone, but=but)
            if claimed is None:
                return None
            ownership = Ownership.of(self._study, claimed)
            number, claim = claimed.number, ownership.owner.claim
            if self._transfer and not self._transfer.begin(number, claim):
                with ownership.settling():
                    put_back(self._study, number)
                return None
            return RunningTrial(
                self._study,
                claimed,
                is_stopping=self._stopping.is_set,
                ledger=self._ledger,
                transfer=self._transfer,
                tell_epochs=self._tell_epochs,
            )

    def _tell_of_odd_metrics(self, trial: RunningTrial) -> None:
        """Say once of each metric beside the objective that it was not finite."""
        objective = self._study.spec.objective
        names = {name for epoch in trial.history for name in epoch.not_finite()}
        for name in sorted(names - {*objective.metrics, *objective.losses} - self._odd_metrics):
            self._odd_metrics.add(name)
            self._note(
                f"trial {trial.number}: {name} was not finite; as it is not the objective, the "
                "trial went on, and MLflow has it as it is"
            )

    def _run(self, trial: RunningTrial) -> None:
        begun_s = time.monotonic()
        config = trial.draw()
        if self._code and not self._is_code_kept:
            study = self._study
            keep_code_version(study.storage, study.study_id, self._code, trial.number)
            self._is_code_kept = True
        try:
            with self._state.kept(self._note) if self._state else nullcontext():
                if isinstance(config.train, TrainConfig):
                    self._train_model(config, trial)
                else:
                    self._run_own(config, trial)
        except BdbQuit as exc:
            raise TrainingError(f"a debugger: {no_terminal(self._study.spec)}") from exc
        finally:
            training_s = time.monotonic() - begun_s - trial.asking_s
            self._asking.spend(trial.asking_s, training_s)

    def _run_own(self, config: TrialConfig, trial: RunningTrial) -> None:
        trial.start(None, config.model, params={}, tags=self._tags(config, trial))
        user_trial = UserTrial(
            number=trial.number,
            seed=low_seed(config.seed),
            device=self._runtime.device,
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
        with self._ledger.booked(Entry.WAITING):
            run = await_run(
                path, uri=uri, resumed=trial.resumed, stopping=self._stopping, tell=self._note
            )
        with telling_run(run, uri):
            yield

    def _train_model(self, config: TrialConfig, trial: RunningTrial) -> None:
        assert config.data is not None
        assert config.model is not None
        data = self._load(config.data)
        with self._ledger.booked(Entry.MODEL):  # a first one of torchvision has it imported
            arguments = model_params(config.model.architecture, config.model.params)
        defaults = {
            f"model.{key}": value
            for key, value in arguments.items()
            if key not in config.model.params and isinstance(value, bool | int | float | str)
        }
        model = ModelConfig(architecture=config.model.architecture, params=arguments)
        if self._study.spec.tracking.log_models != "none":
            self._keep_preprocessing(data, trial.number)
        trial.start(data.info, model, params=defaults, tags=self._tags(config, trial))
        weights = train(
            config,
            data,
            objective=self._study.spec.objective,
            runtime=self._runtime,
            reporter=trial,
            checkpoint=self._study.paths.checkpoint(trial.number),
        )
        if self._study.spec.tracking.log_models != "none":
            with self._ledger.booked(Entry.CHECKPOINT):
                save_checkpoint(self._study.paths.model(trial.number), weights)

    @store_errors()
    def _keep_preprocessing(self, data: TrialData, number: int) -> None:
        """Write it, unless a trial on the same data has, before a log names it."""
        if data.preprocessing is None:
            return
        paths = self._study.paths
        path = paths.preprocessing(data.preprocessing.digest)
        if path.exists():
            return
        with self._ledger.booked(Entry.CHECKPOINT):
            own = paths.own_preprocessing(number)  # several workers may be at it
            save_checkpoint(own, data.preprocessing.state())
            path.parent.mkdir(exist_ok=True)
            with durable(Step.CHECKPOINT_RENAME):
                os.replace(own, path)

    def _load(self, config: DataConfig) -> TrialData:
        """Load a trial's data, and see that they are those of the trials before it."""
        with self._ledger.booked(Entry.DATA):
            data = load_data(
                config,
                cache_dir=self._study.paths.cache_dir,
                seed=self._study.spec.seed,
                device=self._runtime.device,
                label=self._args.data_label,
                resident_bytes=resident_limit(self._runtime.device, self._args.n_sharing),
            )
        if data.remark not in ("", self._remark):
            self._note(data.remark)
        self._remark = data.remark
        loaded = (config.name, config.validation, sorted(config.params.items()))
        settle_data(self._study.storage, self._study.study_id, repr(loaded), data.info)
        return data

    def _tags(self, config: TrialConfig, trial: RunningTrial) -> dict[str, str]:
        return {
            **self._args.tags,
            **({"code": self._code} if self._code else {}),
            "sampler": self._study.sampler.explain()[0],
            **({"drawn_by": trial.drawn_by} if trial.drawn_by else {}),
            "seed": str(config.seed),
            "device": join_names(self._args.devices),
            "precision": self._runtime.precision,
            "host": socket.gethostname(),
            "threads": str(self._args.n_threads),
            **({"job": job} if (job := job_of(os.environ)) else {}),
        }

    def _note_once(self, text: str) -> None:
        """Tell what trial after trial would say."""
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)

    def _note(self, text: str) -> None:
        log.warning("%s", text)
        self._tell(text)


def no_terminal(spec: StudySpec) -> str:
    """What to say to user code that wants to be debugged in a worker."""
    return (
        "a trial in a worker has no terminal to debug in; "
        f"`{spec.command('run', '--debug')}` runs one in yours"
    )
