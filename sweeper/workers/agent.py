"""One machine's part of a study: its lease, its workers, the mirror, progress."""

import math
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sweeper.commands.prepare import PreparedStudy, prepare_study
from sweeper.commands.progress import Display, Tally, open_display
from sweeper.commands.trial_table import TrialTable
from sweeper.config import StudySpec
from sweeper.config.references import import_folders
from sweeper.config.render import render_study
from sweeper.durable import Step, durable
from sweeper.errors import ExitCode, StoreError, StudyError
from sweeper.outage import Outage
from sweeper.paths import RunPaths
from sweeper.study.agents import AgentCard, introduce
from sweeper.study.create import create_study
from sweeper.study.presence import Presence
from sweeper.study.recovery import SILENT, reclaim_orphans
from sweeper.study.result import Result
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.tracking.sync import BackgroundSync
from sweeper.workers.cleanup import Cleanup
from sweeper.workers.devices import keep_to_own_gpus, version_tags
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.pool import WorkerPool
from sweeper.workers.protocol import WorkerArgs
from sweeper.workers.signals import StopSignals

_POLL_S = 0.25
#: At most this share of the time goes into looking at the storage, of which a database takes more
#: than a journal: else many agents would keep it busy with looks. But a lease wants renewals.
_SHARE = 0.05
_MOST_PAUSE_S = 2.0
_ORPHANS_EVERY_S = 5.0
#: So long a command that was told to stop waits for MLflow.
_FLUSH_S = 6.0


def run_study(spec: StudySpec, *, root: Path, as_json: bool = False) -> Result:
    """Work on a study until its goal is reached, its time is over or the user stops it.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        as_json: Print JSON lines instead of a table.

    Returns:
        The study as it stands, with the exit code.

    Raises:
        SweeperError: If the data, the storage or the trials do not allow to go on.
    """
    keep_to_own_gpus()
    with (
        closing(open_display(spec.objective, as_json=as_json)) as display,
        closing(ForkServer(display.note)) as server,  # imports torch while this process prepares
    ):
        prepared = prepare_study(spec, root, display.note)
        with store_errors():
            study = create_study(prepared.spec, RunPaths(root, prepared.spec.name))
            _write_resolved(study)
            study.top_up()
            agent = _Agent(study, _make_order(study, prepared), server, display)
        return agent.run()


def _write_resolved(study: SweepStudy) -> None:
    path = study.paths.resolved_spec
    aside = path.with_suffix(".tmp")
    with study.lock.held(), durable(Step.RESOLVED_FILE):
        aside.write_text(render_study(study.spec), encoding="utf-8")
        aside.replace(path)  # another command's workers may be reading it


def _make_order(study: SweepStudy, prepared: PreparedStudy) -> WorkerArgs:
    """What the workers of a new agent are told; each is given its own name and place."""
    return WorkerArgs(
        root=str(study.paths.root),
        study=study.spec.name,
        storage=study.spec.storage,
        agent=uuid.uuid4().hex[:12],
        name="",
        given_s=0.0,
        import_dirs=import_folders(study.spec.path),
        device="cpu",
        n_threads=1,
        n_sharing=1,
        data_label=prepared.data_label,
        failed_before=study.failed(),
        tags=version_tags(study.spec.path.absolute().parent),
    )


class _Agent:
    def __init__(
        self, study: SweepStudy, order: WorkerArgs, server: ForkServer, display: Display
    ) -> None:
        self._study = study
        self._order = order
        self._display = display
        self._begun = time.monotonic()
        standing = study.history.look()
        self._n_finished = self._n_finished_before = standing.n_finished
        self._board = TrialTable(study.paths, study.spec.objective, standing)
        self._shipping = BackgroundSync(study, order.tags, display.note)
        self._clearing = Cleanup(study, display.note)
        self._crew = WorkerPool(study, order, server, display.note)
        self._signals = StopSignals()
        self._is_leased = True
        self._is_cancelled = False
        self._looked_s = self._begun
        self._due_s = -math.inf
        self._patience = Outage(display.note)

    def run(self) -> Result:
        """Reach the goal, or say why not."""
        goal, budget = self._study.goal, self._study.spec.budget.trials
        if budget and goal < budget:
            self._display.note(f"the grid has {goal} points, so the goal is not {budget} trials")
        with self._signals.noted(), self._present():
            reclaim_orphans(self._study, SILENT)
            self._shipping.start()
            self._clearing.start()
            try:
                if not self._is_goal_reached():
                    self._work()
            finally:
                self._crew.kill()
                has_everything = self._is_leased and self._leave()
        if not self._is_leased:
            self._display.note(
                "this command was silent for so long that others took over its trials; it stops "
                "and leaves the rest to them"
            )
            return Result(self._study, ExitCode.STOPPED)
        return self._conclude(has_everything)

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Let other processes of this machine see that the agent lives."""
        with store_errors():
            presence = Presence(self._study.paths.presence_dir, self._order.agent)
        try:
            yield
        finally:
            presence.leave()

    @store_errors()
    def _is_goal_reached(self) -> bool:
        return self._study.n_finished() >= self._study.goal

    def _work(self) -> None:
        with store_errors():
            self._study.leases.renew(self._order.agent)
            self._crew.start()
            card = AgentCard.own(self._crew.devices, begun_s=time.time())
            introduce(self._study.storage, self._study.study_id, self._order.agent, card)
        while not self._crew.is_empty:
            if time.monotonic() >= self._due_s:
                self._tend_patiently()
            if reason := self._reason_to_stop():
                self._drain(reason)
                return
            time.sleep(_POLL_S)
        with store_errors():  # its workers may have found out before
            self._is_leased = self._is_leased and self._study.leases.renew(self._order.agent)

    def _tend_patiently(self) -> None:
        begun_s = time.monotonic()
        try:
            self._tend()
        except StoreError as exc:
            self._patience.bear(exc, n_finished=self._n_finished)
        now_s = time.monotonic()
        self._due_s = now_s + min((now_s - begun_s) * (1 / _SHARE - 1), _MOST_PAUSE_S)

    @store_errors()
    def _tend(self) -> None:
        self._is_leased = self._study.leases.renew(self._order.agent)
        if not self._is_leased:
            self._crew.kill()
            return
        self._is_cancelled = self._study.leases.is_told_to_stop
        self._crew.tend()
        if time.monotonic() - self._looked_s > _ORPHANS_EVERY_S:
            reclaim_orphans(self._study, SILENT)  # another agent's, killed with its workers
            if self._study.has_plan:  # which older agents, with an older file, do not know
                self._study.top_up()
            self._looked_s = time.monotonic()
        self._show()
        self._patience.look()

    def _show(self) -> None:
        standing = self._study.history.look()
        ended = self._board.poll(standing)
        self._n_finished = standing.n_finished
        tally = Tally(self._n_finished, self._study.goal, self._eta_s())
        for row in ended:
            self._display.ended(row, tally)
        self._display.show(self._board, tally)

    def _eta_s(self) -> float | None:
        n_done = self._n_finished - self._n_finished_before
        if n_done == 0:
            return None
        return (time.monotonic() - self._begun) / n_done * (self._study.goal - self._n_finished)

    def _reason_to_stop(self) -> str:
        """Why running trials must not go on to their end; empty if they may."""
        timeout_s = self._study.spec.budget.timeout
        if self._signals.received:
            return "stopping"
        if timeout_s is not None and time.monotonic() - self._begun > timeout_s:
            return "budget.timeout is over"
        return "`sweeper cancel` asks this command to stop" if self._is_cancelled else ""

    def _drain(self, reason: str) -> None:
        """Let running trials go back to waiting; a second signal ends them at once."""
        again = "; once more stops at once" if self._signals.received else ""
        self._display.note(
            f"{reason}: running trials finish their batch and wait for the next command{again}"
        )
        n_signals = len(self._signals.received)
        self._crew.drain(lambda: len(self._signals.received) > n_signals)

    def _leave(self) -> bool:
        """Give up what this agent holds; whether MLflow has everything."""
        try:
            with store_errors():
                reclaim_orphans(self._study, "stopped at once")
                self._show()
                self._study.leases.end(self._order.agent)
        except StoreError as exc:
            if not self._patience.is_tried:
                self._display.note(str(exc))
        n_signals = len(self._signals.received)
        has_everything = self._shipping.finish(
            lambda: len(self._signals.received) > n_signals,
            patience_s=_FLUSH_S if n_signals else None,
        )
        self._clearing.finish(has_everything=has_everything)
        return has_everything

    @store_errors()
    def _conclude(self, has_everything: bool) -> Result:
        cause = self._study.failure_streak(self._order.failed_before)
        if cause is not None:
            raise StudyError(
                f"stopped: trial after trial failed, the latest of {cause}; see to that, and the "
                f"same command goes on\n{self._details_of(cause)}"
            )
        if self._is_goal_reached():
            code = ExitCode.GOAL_REACHED
            self._patience.settle()
        else:
            code = self._signals.exit_code
        result = Result(self._study, code)
        path = self._study.spec.path
        hints = [f"compare them: sweeper ui {path}"]
        if code != ExitCode.GOAL_REACHED:
            hints.append(f"the same command goes on: sweeper run {path}")
        if not has_everything:
            hints.append(f"MLflow does not have everything yet: sweeper sync {path}")
        self._display.summary(result, hints)
        return result

    def _details_of(self, cause: str) -> str:
        failures = Result(self._study).failures
        return next(failure.details for failure in failures if failure.cause == cause)
