"""One machine's part of a study: its lease, its workers, what it sends to MLflow."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from sweeper.config.grid import explain_goal
from sweeper.errors import ExitCode, StoreError, StudyError
from sweeper.outage import storage_outage
from sweeper.study.agents import AgentInfo, register_agent
from sweeper.study.attributes import Owner
from sweeper.study.failures import find_streak
from sweeper.study.presence import Presence
from sweeper.study.recovery import SILENT, reclaim_orphans
from sweeper.study.result import Result, at_goal
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.study.trial_cache import Standing
from sweeper.tracking.background_sync import BackgroundSync
from sweeper.tracking.completion import Completion, find_completion
from sweeper.workers.cleanup import Cleanup
from sweeper.workers.exporter import ExporterProcess
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.pool import WorkerPool
from sweeper.workers.protocol import AgentArgs
from sweeper.workers.signals import StopSignals

_POLL_S = 0.1
#: At most this share of the time goes into looking at the storage, of which a database takes more
#: than a journal: else many agents would keep it busy with looks. But a lease wants renewals.
_SHARE = 0.05
_MOST_PAUSE_S = 2.0
_ORPHANS_EVERY_S = 5.0
#: So long a command that was told to stop waits for MLflow.
_FLUSH_S = 6.0


class Display(Protocol):
    """Where an agent shows what happens."""

    def show(self, standing: Standing, epochs: Mapping[int, float]) -> None:
        """How the trials stand; called a few times a second.

        Args:
            standing: As the storage has it.
            epochs: Number of a trial of this agent -> epochs done, with the part of the next one.
        """

    def note(self, text: str) -> None:
        """Something that people should know."""

    def summary(self, result: Result) -> None:
        """What the study has come to; nothing of it changes any more in this command."""

    def next_steps(
        self, result: Result, completion: Completion | None, *, has_everything: bool
    ) -> None:
        """How to go on from here; the last that is shown.

        Args:
            result: As in ``summary``.
            completion: What MLflow has of the study, once its goal is reached and all is sent.
            has_everything: MLflow has all that this command was to send.
        """


class Agent:
    """Works on a study with the workers that its file asks for on this machine.

    Args:
        study: Begun, with trials that wait.
        args: What each worker is told.
        server: Starts them.
        display: Shows what happens.
    """

    def __init__(
        self, study: SweepStudy, args: AgentArgs, server: ForkServer, display: Display
    ) -> None:
        self._study = study
        self._name = args.agent
        self._failed_before = args.failed_before
        self._display = display
        log_path = study.paths.worker_log(f"exporter-{args.agent}")
        exporter = ExporterProcess(server, args.import_dirs, args.functions, log_path)
        self._sync = BackgroundSync(study, args.tags, display.note, exporter)
        self._cleanup = Cleanup(study, display.note)
        self._pool = WorkerPool(study, args, server, display.note)
        self._signals = StopSignals()
        self._outage = storage_outage(display.note)
        self._is_leased = True
        self._n_finished = study.n_finished()
        self._begun_s = self._reclaimed_s = time.monotonic()
        self._due_s = -math.inf
        self._n_alive = 0

    def run(self) -> Result:
        """Reach the goal, or say why not.

        Raises:
            StoreError: If disk or storage fail for longer than can be borne.
            StudyError: If trial after trial, or worker after worker, fails.
        """
        if reason := explain_goal(self._study.spec):
            self._display.note(reason)
        if threading.current_thread() is not threading.main_thread():
            self._display.note(
                "signals do not reach a thread, so Ctrl-C does not stop this; "
                f"`{self._study.spec.command('cancel')}` does"
            )
        with self._signals.noted(), self._present():
            reclaim_orphans(self._study, SILENT)
            self._sync.start()
            self._cleanup.start()
            try:
                self._work_to_its_end()
                result = self._conclude()
            finally:
                has_everything = self._is_leased and self._send_rest()
        if self._is_leased:
            completion = find_completion(self._study)
            self._display.next_steps(result, completion, has_everything=has_everything)
        return result

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Let other processes of this machine see that the agent lives."""
        with store_errors():
            presence = Presence(self._study.paths.presence_dir, self._name)
        try:
            yield
        finally:
            presence.leave()

    @store_errors()
    def _is_goal_reached(self) -> bool:
        return self._study.n_finished() >= self._study.goal

    def _work_to_its_end(self) -> None:
        try:
            if not self._is_goal_reached():
                self._work()
        finally:
            self._pool.kill()
            if self._is_leased:
                self._leave()

    def _work(self) -> None:
        with store_errors():
            self._study.leases.renew(self._name)
            self._pool.start()
            info = AgentInfo.own(self._pool.devices, begun_s=time.time())
            register_agent(self._study.attributes, self._name, info)
        while not self._pool.is_empty:
            # A worker that has ended leaves its place empty, and the last one ends the command.
            if time.monotonic() >= self._due_s or self._pool.n_alive < self._n_alive:
                self._look_unless_outage()
            if reason := self._reason_to_stop():
                self._drain(reason)
                return
            time.sleep(_POLL_S)
        with store_errors():  # its workers may have found out before
            self._is_leased = self._is_leased and self._study.leases.renew(self._name)

    def _look_unless_outage(self) -> None:
        begun_s = time.monotonic()
        try:
            self._look()
        except StoreError as exc:
            self._outage.bear(exc, n_finished=self._n_finished)
        now_s = time.monotonic()
        self._n_alive = self._pool.n_alive
        self._due_s = now_s + min((now_s - begun_s) * (1 / _SHARE - 1), _MOST_PAUSE_S)

    @store_errors()
    def _look(self) -> None:
        """Do what is due: renew the lease, replace workers, take over what others left."""
        self._is_leased = self._study.leases.renew(self._name)
        if not self._is_leased:
            self._pool.kill()
            return
        self._pool.look()
        if time.monotonic() - self._reclaimed_s > _ORPHANS_EVERY_S:
            reclaim_orphans(self._study, SILENT)  # another agent's, killed with its workers
            if self._study.queue.has_plan:  # which older agents, with an older file, do not know
                self._study.queue.top_up()
            self._reclaimed_s = time.monotonic()
        self._show()
        self._outage.look()

    def _show(self) -> None:
        standing = self._study.cache.look()
        self._n_finished = standing.n_finished
        self._display.show(standing, self._pool.epochs())

    def _reason_to_stop(self) -> str:
        """Why running trials must not go on to their end; empty if they may."""
        timeout_s = self._study.spec.budget.timeout
        if self._signals.received:
            return "stopping"
        if timeout_s is not None and time.monotonic() - self._begun_s > timeout_s:
            return "budget.timeout is over"
        if self._study.leases.is_told_to_stop:
            return "`sweeper cancel` asks this command to stop"
        return ""

    def _drain(self, reason: str) -> None:
        """Let running trials go back to waiting; a second signal ends them at once."""
        again = "; once more stops at once" if self._signals.received else ""
        if self._has_running_trials():
            self._display.note(
                f"{reason}: running trials finish their batch and wait for the next command{again}"
            )
        elif self._n_finished < self._study.goal:
            self._display.note(f"{reason}: no trial runs here{again}")
        self._pool.drain(self._signals.one_more())

    def _has_running_trials(self) -> bool:
        """Whether workers of this agent have a trial, as far as the storage tells."""
        try:
            with store_errors():
                standing = self._study.cache.look()
        except StoreError:
            return True
        self._n_finished = standing.n_finished
        return any(Owner.of(trial).agent == self._name for trial in standing.running)

    def _leave(self) -> None:
        """Give up what this agent holds."""
        try:
            with store_errors():
                reclaim_orphans(self._study, "stopped at once")
                self._show()
                self._study.leases.end(self._name)
        except StoreError as exc:
            if not self._outage.is_on:
                self._display.note(str(exc))

    def _send_rest(self) -> bool:
        """Whether MLflow has everything now; that may take longer than all else."""
        limit_s = _FLUSH_S if self._signals.received else None
        has_everything = self._sync.finish(self._signals.one_more(), limit_s=limit_s)
        self._cleanup.finish(has_everything=has_everything)
        return has_everything

    @store_errors()
    def _conclude(self) -> Result:
        """Show what the study has come to.

        Raises:
            StudyError: If trial after trial failed.
        """
        if not self._is_leased:
            self._display.note(
                "this command was silent for so long that others took over its trials; it stops "
                "and leaves the rest to them"
            )
            return Result(self._study, ExitCode.STOPPED)
        cause = find_streak(self._study.cache, self._failed_before)
        if cause is not None:
            raise StudyError(
                f"stopped: trial after trial failed, the latest of {cause}; see to that, and the "
                f"same command goes on\n{self._details_of(cause)}"
            )
        if self._is_goal_reached():
            result = at_goal(self._study)
            self._outage.end()
        else:
            result = Result(self._study, self._signals.exit_code)
        self._display.summary(result)
        return result

    def _details_of(self, cause: str) -> str:
        failures = Result(self._study).failures
        return next(failure.details for failure in failures if failure.cause == cause)
