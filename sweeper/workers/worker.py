"""One process that claims trials and trains them until the goal is reached.

It is started by the agent and lives as long as there is work, so torch, the data and the device
are loaded once, not once a trial. It never talks to MLflow. Its standard input is a channel to
the agent: in comes one line that says what to do, then silence, whose end means that the agent is
gone; out goes a last word, see :data:`~sweeper.workers.protocol.FAREWELL`.
"""

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from sweeper.config.reader import load_study
from sweeper.config.references import make_importable
from sweeper.config.settings import FunctionConfig, ModelConfig, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.data.dataset import load_data
from sweeper.errors import StoreError, TrialInterrupted, TrialLost
from sweeper.locks import Room
from sweeper.models.build import model_params
from sweeper.paths import RunPaths
from sweeper.study.agents import job_of
from sweeper.study.create import load_study_from_storage
from sweeper.study.ownership import Ownership
from sweeper.study.presence import Presence
from sweeper.study.running_trial import RunningTrial
from sweeper.study.sampler_in_use import AskingBudget
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy, wants_device_alone
from sweeper.text import log_to_stderr
from sweeper.timing import Entry, TimeLedger
from sweeper.training.checkpoint import save_checkpoint
from sweeper.training.function import UserTrial, train_function
from sweeper.training.learner import Runtime
from sweeper.training.loop import train
from sweeper.trial import TrialState
from sweeper.workers.forkserver import SERVE, name_process, serve
from sweeper.workers.memory import keep_freed_memory, resident_limit, return_freed_memory
from sweeper.workers.protocol import DRAIN_S, FAREWELL, NOTE, WorkerArgs
from sweeper.workers.signals import reset_signals

log = logging.getLogger("sweeper")

_POLL_S = 0.2


class _UnwantedError(Exception):
    """No trial wants the device alone any more."""


class Worker:
    """Works on one study on one device."""

    def __init__(self, order: WorkerArgs, study: SweepStudy, stopping: threading.Event) -> None:
        self._order = order
        self._study = study
        self._stopping = stopping
        self._runtime = Runtime(torch.device(order.device), study.spec.run.precision)
        self._asking = AskingBudget(study)
        self._room = Room(study.paths.device_room(order.device))
        self._transfer = (
            TrialTransfer(study.object_store, study.paths, _note) if study.object_store else None
        )
        self._failed_before = frozenset(order.failed_before)
        self._ledger = TimeLedger(max(0.0, time.time() - order.given_s))

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
            return not self._stopping.is_set() and not self._study.is_over(self._failed_before)

    @store_errors()
    def _is_alone_wanted(self) -> bool:
        return any(map(wants_device_alone, self._study.history.look().waiting))

    def _work_once(self, *, alone: bool) -> bool:
        """Run the next trial, beside others or alone on the device; False if none waits.

        The device comes before the claim, so that no trial runs while it still waits for it.
        """
        while_waiting = partial(self._while_waiting, alone=alone)
        try:
            with ExitStack() as held:
                with self._ledger.booked(Entry.WAITING):
                    held.enter_context(
                        self._room.entered(alone=alone, while_waiting=while_waiting)
                    )
                claim = self._claim(alone=alone)
                if claim is None:
                    return False
                with claim:
                    state = claim.conclude(partial(self._run, claim))
                return_freed_memory()
        except _UnwantedError:
            return False
        if state == TrialState.FAILED and self._runtime.device.type == "cuda":
            torch.cuda.synchronize(self._runtime.device)  # some errors spoil the whole process
        return True

    def _while_waiting(self, *, alone: bool) -> None:
        if self._stopping.is_set():
            raise TrialInterrupted("stopped while it waited for the device")
        if alone and not self._is_alone_wanted():
            raise _UnwantedError
        _free_memory(self._runtime.device)

    @store_errors()
    def _claim(self, *, alone: bool) -> RunningTrial | None:
        with self._ledger.booked(Entry.CLAIM):
            but = self._transfer.postponed() if self._transfer else ()
            trial = self._study.claim(self._order.agent, self._order.name, alone=alone, but=but)
            if trial is None:
                return None
            hold = Ownership.of(self._study, trial)
            if self._transfer and not self._transfer.begin(trial.number, hold.owner.claim):
                with hold.settling():
                    self._study.put_back(trial.number)
                return None
            return RunningTrial(
                self._study,
                trial,
                is_stopping=self._stopping.is_set,
                ledger=self._ledger,
                transfer=self._transfer,
            )

    def _run(self, claim: RunningTrial) -> None:
        begun = time.monotonic()
        config = claim.draw()
        drawn = time.monotonic()
        try:
            self._train(config, claim)
        finally:
            self._asking.spend(drawn - begun, time.monotonic() - drawn)

    def _train(self, config: TrialConfig, claim: RunningTrial) -> None:
        if isinstance(config.train, FunctionConfig):
            claim.start(None, config.model, params={}, tags=self._tags(config))
            self._run_function(config, claim)
        else:
            self._run_training(config, claim)

    def _run_training(self, config: TrialConfig, claim: RunningTrial) -> None:
        assert config.data is not None
        assert config.model is not None
        with self._ledger.booked(Entry.DATA):
            data = load_data(
                config.data,
                cache_dir=self._study.paths.cache_dir,
                seed=self._study.spec.seed,
                device=self._runtime.device,
                label=self._order.data_label,
                resident_bytes=resident_limit(self._runtime.device, self._order.n_sharing),
            )
        loaded = (config.data.name, config.data.validation, sorted(config.data.params.items()))
        self._study.settle_fingerprint(repr(loaded), data.info.fingerprint)
        arguments = model_params(config.model.architecture, config.model.params)
        defaults = {
            f"model.{key}": value
            for key, value in arguments.items()
            if key not in config.model.params and isinstance(value, bool | int | float | str)
        }
        claim.start(
            data.info,
            ModelConfig(architecture=config.model.architecture, params=arguments),
            params=defaults,
            tags=self._tags(config),
        )
        weights = train(
            config,
            data,
            objective=self._study.spec.objective,
            runtime=self._runtime,
            reporter=claim,
            checkpoint=self._study.paths.checkpoint(claim.number),
        )
        if self._study.spec.tracking.log_models != "none":
            with self._ledger.booked(Entry.CHECKPOINT):
                save_checkpoint(self._study.paths.model(claim.number), weights)

    def _run_function(self, config: TrialConfig, claim: RunningTrial) -> None:
        trial = UserTrial(
            number=claim.number,
            seed=config.seed,
            device=self._runtime.device,
            checkpoint=self._study.paths.user_checkpoint(claim.number),
            objective=self._study.spec.objective,
            reporter=claim,
        )
        train_function(config, trial)

    def _tags(self, config: TrialConfig) -> dict[str, str]:
        return {
            **self._order.tags,
            "sampler": self._study.sampler()[0],
            "seed": str(config.seed),
            "device": str(self._runtime.device),
            "host": socket.gethostname(),
            "threads": str(self._order.n_threads),
            **({"job": job} if (job := job_of(os.environ)) else {}),
        }


def _note(text: str) -> None:
    """Let the agent tell the user."""
    log.warning("%s", text)
    with suppress(OSError):  # the agent may be gone
        os.write(sys.stdin.fileno(), (text + NOTE).encode())


def _free_memory(device: torch.device) -> None:
    """Give back what earlier trials have left, for the one that needs the device alone."""
    if device.type == "cuda" and torch.cuda.memory_reserved(device):
        gc.collect()
        torch.cuda.empty_cache()


def _read_line(fd: int) -> bytes:
    """Read up to the first newline and nothing behind it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            raise EOFError("a worker is started by its agent: sweeper run STUDY")
        line += byte
    return line


def _stop_when_alone(stopping: threading.Event) -> None:
    """Stop after the current batch once the agent's end of the channel is closed.

    What hangs is ended the hard way: nobody else would.
    """
    os.read(sys.stdin.fileno(), 1)  # unlike sys.stdin, holds no lock that blocks the exit
    log.warning("the agent is gone; this worker ends after the current batch")
    stopping.set()
    faulthandler.dump_traceback_later(DRAIN_S, exit=True)


def _use_threads(n_threads: int) -> None:
    torch.set_num_threads(n_threads)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # for processes of user code
        os.environ[name] = str(n_threads)
    if n_threads > 1:  # the server had to load numpy's OpenBLAS with one
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits(n_threads)


def _load_spec(order: WorkerArgs, paths: RunPaths) -> StudySpec:
    """The study as it was when its agent began, with the places of the user's own file."""
    return replace(
        load_study(paths.resolved_spec),
        path=Path(order.study_file),
        lines=order.lines,
        storage=order.storage,
    )


def main() -> None:
    """Run one worker to its end."""
    name_process("sweeper-worker")
    order = WorkerArgs.decode(_read_line(sys.stdin.fileno()))
    log_to_stderr("%(asctime)s %(levelname)s %(message)s", logging.INFO)
    faulthandler.register(signal.SIGUSR2, all_threads=False)  # the agent asks where it hangs
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1):  # a scheduler may signal the whole job
        signal.signal(number, lambda *_: stopping.set())
    os.register_at_fork(after_in_child=reset_signals)  # processes of user code end as usual
    threading.Thread(target=_stop_when_alone, args=(stopping,), daemon=True).start()
    make_importable(order.import_dirs)
    np.random.seed()  # else forks draw alike until a trial seeds it
    _use_threads(order.n_threads)
    keep_freed_memory()
    paths = RunPaths(Path(order.root), order.study)
    with store_errors():
        presence = Presence(paths.presence_dir, order.name)
    try:
        study = load_study_from_storage(_load_spec(order, paths), paths)
        assert study is not None, "the agent creates the study before its workers"
        Worker(order, study, stopping).work()
    finally:
        presence.leave()


def _main_process() -> NoReturn:
    """Run :func:`main`, then end at once: threads that user code left must not keep it alive."""
    last_word: str | None = ""
    try:
        main()
    except TrialLost as signal_:
        log.warning("%s; this worker ends", signal_)
    except StoreError as exc:
        last_word = str(exc)
    except BaseException:
        log.exception("this worker dies")
        last_word = None
    if last_word is not None:
        with suppress(OSError):  # the agent may be gone
            os.write(sys.stdin.fileno(), (last_word + FAREWELL).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(last_word is None)


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        del sys.argv[1:]  # which a user's own argument parser may read
        serve(_main_process)
    else:
        _main_process()
