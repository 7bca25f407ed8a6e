"""One process that claims trials and trains them until the goal is reached.

It is started by the agent and lives as long as there is work, so torch, the data and the device
are loaded once, not once a trial. It never talks to MLflow. Its standard input is a pipe from the
agent: one line that says what to do, then silence, whose end means that the agent is gone.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import torch

from sweeper.asking import AskingBudget
from sweeper.checkpoint import save_checkpoint
from sweeper.claim import Claim
from sweeper.config import FunctionConfig, ModelConfig, TrialConfig
from sweeper.data.dataset import load_data
from sweeper.learner import Runtime
from sweeper.lock import Presence
from sweeper.models import model_params
from sweeper.order import WorkerOrder
from sweeper.paths import RunPaths
from sweeper.reference import make_importable
from sweeper.spec import load_study
from sweeper.study import SweepStudy, load_study_from_storage
from sweeper.training import UserTrial, train, train_function

log = logging.getLogger("sweeper")

_POLL_S = 0.2


class Worker:
    """Works on one study on one device."""

    def __init__(self, order: WorkerOrder, study: SweepStudy, stopping: threading.Event) -> None:
        self._order = order
        self._study = study
        self._stopping = stopping
        self._runtime = Runtime(torch.device(order.device), study.spec.run.precision)
        self._asking = AskingBudget(study)

    def work(self) -> None:
        """Claim and train until the goal is reached, or it makes no sense to go on."""
        since = datetime.fromisoformat(self._order.since)
        while not self._stopping.is_set() and not self._study.failure_streak(since):
            if self._study.n_finished() >= self._study.goal:
                return
            trial = self._study.claim(self._order.name)
            if trial is None:
                self._stopping.wait(_POLL_S)
                continue
            with Claim(self._study, trial, is_stopping=self._stopping.is_set) as claim:
                claim.conclude(lambda: self._run(claim))

    def _run(self, claim: Claim) -> None:
        begun = time.monotonic()
        config = claim.draw()
        drawn = time.monotonic()
        try:
            self._train(config, claim)
        finally:
            self._asking.spend(drawn - begun, time.monotonic() - drawn)

    def _train(self, config: TrialConfig, claim: Claim) -> None:
        if isinstance(config.train, FunctionConfig):
            claim.start(None, config.model, params={}, tags=self._tags(config))
            self._run_function(config, claim)
        else:
            self._run_training(config, claim)

    def _run_training(self, config: TrialConfig, claim: Claim) -> None:
        assert config.data is not None
        assert config.model is not None
        data = load_data(
            config.data,
            cache_dir=self._study.paths.cache_dir,
            seed=self._study.spec.seed,
            device=self._runtime.device,
            label=self._order.data_label,
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
            save_checkpoint(self._study.paths.model(claim.number), weights)

    def _run_function(self, config: TrialConfig, claim: Claim) -> None:
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
        }


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
    """Stop after the current epoch once the agent's end of the pipe is closed."""
    os.read(sys.stdin.fileno(), 1)  # unlike sys.stdin, holds no lock that blocks the exit
    log.warning("the agent is gone; this worker ends after the current epoch")
    stopping.set()


def main() -> None:
    """Run one worker to its end."""
    order = WorkerOrder.decode(_read_line(sys.stdin.fileno()))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_stop_when_alone, args=(stopping,), daemon=True).start()
    make_importable(order.import_dirs)
    torch.set_num_threads(order.n_threads)
    paths = RunPaths(Path(order.root), order.study)
    presence = Presence(paths.presence_dir, order.name)
    try:
        spec = replace(load_study(paths.resolved_spec), storage=order.storage)
        study = load_study_from_storage(spec, paths)
        assert study is not None, "the agent creates the study before its workers"
        Worker(order, study, stopping).work()
    finally:
        presence.leave()


def _main_process() -> NoReturn:
    """Run :func:`main`, then end at once: threads that user code left must not keep it alive."""
    code = 0
    try:
        main()
    except BaseException:
        log.exception("this worker dies")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main_process()
