"""The workers of one agent: started, replaced when they die, drained, dismissed."""

import math
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from sweeper.errors import StoreError, StudyError
from sweeper.study.attributes import Owner
from sweeper.study.failures import FAILURE_STREAK, RETRIES
from sweeper.study.recovery import SILENT, Death, reclaim_orphans
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.text import format_seconds
from sweeper.trial import FailureKind
from sweeper.workers.devices import Placement, join_names, place_workers
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.lane_plan import ALONE, LanePlan
from sweeper.workers.process import WorkerProcess
from sweeper.workers.protocol import DRAIN_S, AgentArgs, WorkerArgs
from sweeper.workers.trial_timeout import TrialTimeout

_POLL_S = 0.1
#: So long the place of a worker that disk or storage failed stays empty.
_PAUSE_S = 1.0


class WorkerPool:
    """As many workers as the study file asks for on this machine.

    Args:
        study: What they work on.
        args: What each is told.
        server: Starts them.
        note: Told of deaths.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        study: SweepStudy,
        args: AgentArgs,
        server: ForkServer,
        note: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._args = args
        self._server = server
        self._note = note
        self._now = now
        self._workers: list[WorkerProcess] = []
        self._vacant: list[Placement] = []
        self._n_fruitless_deaths = 0
        self._has_lanes = True
        self._n_finished_at_death: int | None = None
        self._latest_note = ""
        self._transfer = (
            TrialTransfer(study.object_store, study.paths, note) if study.object_store else None
        )
        self._failed_s = -math.inf
        limit_s = study.spec.budget.trial_timeout
        self._timeout = TrialTimeout(limit_s, now) if limit_s is not None else None
        self._timed_out: dict[str, Death] = {}

    @property
    def is_empty(self) -> bool:
        """Whether all found nothing more to do."""
        return not self._workers and not self._vacant

    @property
    def n_alive(self) -> int:
        """How many have not ended; cheap."""
        return sum(not worker.has_ended for worker in self._workers)

    @property
    def devices(self) -> list[str]:
        """Where they compute, one entry a worker."""
        return [join_names(worker.place.devices) for worker in self._workers]

    def epochs(self) -> dict[int, float]:
        """Number of a trial -> epochs done, with the part of the next one, of all workers."""
        return {n: done for worker in self._workers for n, done in worker.epochs.items()}

    def start(self) -> None:
        """Start them all."""
        for placement in place_workers(self._study.spec):
            self._start_worker(placement)

    def _start_worker(self, placement: Placement) -> None:
        place = placement if self._has_lanes else replace(placement, lanes=ALONE)
        args = WorkerArgs.new(self._args, place, name=uuid.uuid4().hex[:12])
        log_path = self._study.paths.worker_log(args.name)
        self._workers.append(WorkerProcess(args, log_path, self._server))

    def look(self) -> None:
        """Replace dead workers, let go of those that found nothing more to do.

        Raises:
            StoreError: If disk or storage fail, here or in a worker, whose trial is given back
                then; a later call goes on where this one stopped.
            StudyError: If worker after worker dies before it could claim a trial.
        """
        if self._timeout:
            self._kill_overdue(self._timeout)
        dead = [worker for worker in self._workers if not worker.is_alive]
        self._pass_on_notes()
        trouble = ""
        for worker in dead:
            trouble = self._settle(worker) or trouble
            worker.kill()  # what its trial started may live on
            self._workers.remove(worker)
        if trouble:
            raise StoreError(trouble)
        while self._vacant and self._now() - self._failed_s > _PAUSE_S:
            if self._study.n_finished() < self._study.goal:
                self._start_worker(self._vacant[-1])
            self._vacant.pop()

    def _kill_overdue(self, timeout: TrialTimeout) -> None:
        alive = {worker.name: worker for worker in self._workers if worker.is_alive}
        for name, number in timeout.overdue(self._study.cache.look(), alive):
            worker = alive[name]
            is_program = "command" in self._study.spec.sections["train"]  # whose stack is its own
            details = worker.last_lines() if is_program else worker.show_stack()
            self._timed_out[name] = Death(
                name, timeout.cause, FailureKind.TRIAL_TIMEOUT, details, number
            )
            worker.kill()

    def _pass_on_notes(self) -> None:
        """Tell the user what workers have to say; what several say one after the other, once."""
        for worker in self._workers:
            for note in worker.take_notes():
                if note != self._latest_note:
                    self._note(note)
                self._latest_note = note

    def _settle(self, worker: WorkerProcess) -> str:
        """Do what a worker's end asks for; the trouble with disk or storage that it ended of."""
        if worker.end is None:
            self._blame(worker, self._timed_out.get(worker.name) or worker.cause_of_death())
            self._vacant.append(worker.place)
        elif worker.end:
            # It writes to both, so this shows whether they work again.
            self._reclaim(worker, worker.end)
            self._vacant.append(worker.place)
            self._failed_s = self._now()
        else:
            worker.forget_log()
        return worker.end or ""

    def _blame(self, worker: WorkerProcess, death: Death) -> None:
        """Give back, or fail, the trial that a worker died of.

        Raises:
            StudyError: If it is one of many that had none.
        """
        n_orphans = self._reclaim(worker, SILENT, death)
        lost = "its trial is" if n_orphans == 1 else f"its {n_orphans} trials are"
        again = f"; {lost} given back" if n_orphans and death.kind in RETRIES else ""
        cause = death.cause.replace("its worker", "a worker", 1)
        self._note(f"{cause}{again}; another worker takes its place; log: {worker.log_path}")
        if death.kind != FailureKind.TRIAL_TIMEOUT:
            self._give_up_lanes(worker.place.lanes)
        self._n_fruitless_deaths = 0 if n_orphans else self._n_fruitless_deaths + 1
        if self._n_fruitless_deaths >= FAILURE_STREAK:
            raise StudyError(
                f"{FAILURE_STREAK} workers in a row died before they could claim a trial "
                f"({cause}); the last words of the last one:\n{death.details}"
            )

    def _give_up_lanes(self, lanes: LanePlan) -> None:
        """Have trials trained one by one after two deaths with nothing finished between.

        It may be that they do not bear CUDA graphs here. What the file asks for stays.
        """
        before, self._n_finished_at_death = self._n_finished_at_death, self._study.n_finished()
        if not self._has_lanes or lanes.is_asked or not lanes.has_lanes:
            return
        if before == self._n_finished_at_death:
            self._has_lanes = False
            self._note(
                "two workers died and no trial was finished between; from now on this command "
                "trains trials one by one, operator by operator, as with run.lanes: off"
            )

    def _reclaim(self, worker: WorkerProcess, cause: str, death: Death | None = None) -> int:
        """Put a dead worker's trial back; before that, its files go to the object store."""
        if self._transfer:
            for trial in self._study.cache.look().running:
                owner = Owner.of(trial)
                has_begun = self._study.paths.events(trial.number).exists()
                if owner.worker == worker.name and has_begun:
                    self._transfer.deliver(trial.number, owner.claim)
        return reclaim_orphans(self._study, cause, death)

    def drain(self, is_impatient: Callable[[], bool]) -> None:
        """Let each finish its batch, put its trial back and end; kill those that do not.

        Args:
            is_impatient: Looked at while waiting; whether to kill at once.
        """
        for worker in self._workers:
            worker.drain()
        deadline_s = self._now() + DRAIN_S
        while any(worker.is_alive for worker in self._workers) and not is_impatient():
            if self._now() > deadline_s:
                self._note(
                    f"some batch did not end in {format_seconds(DRAIN_S)}; its worker is killed, "
                    "and the trial goes on from its last checkpoint later"
                )
                break
            time.sleep(_POLL_S)
        self._pass_on_notes()
        self.kill()

    def kill(self) -> None:
        """End them all at once."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._vacant.clear()
