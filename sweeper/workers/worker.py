"""What claims trials and trains them until the goal is reached.

A worker lives as long as there is work, so torch, the data and the device are loaded once, not
once a trial. It never talks to MLflow.
"""

import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import torch

from sweeper.config.draws import drawing_key
from sweeper.errors import TrialInterrupted
from sweeper.study.attributes import is_suspect, wants_device_alone
from sweeper.study.failures import is_over
from sweeper.study.lane_counts import BestLanes, best_lanes, keep_best_lanes
from sweeper.study.ownership import Ownership
from sweeper.study.reports import TurnReports
from sweeper.study.running_trial import RunningTrial, draw_together
from sweeper.study.sampler_in_use import AskingBudget
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.timing import Entry, TimeLedger
from sweeper.trial import TrialState
from sweeper.workers.lane_count import LaneCount
from sweeper.workers.lane_plan import ALONE, LanePlan
from sweeper.workers.lanes import Lane, Lanes
from sweeper.workers.memory import (
    LaneMemory,
    Room,
    return_device_memory,
    return_freed_memory,
    return_idle_memory,
)
from sweeper.workers.protocol import WorkerArgs
from sweeper.workers.runner import TrialRunner
from sweeper.workers.signals import StopRequest

log = logging.getLogger("sweeper")

_POLL_S = 0.2


class _UnwantedError(Exception):
    """Nobody wants to wait for the device any more."""


class Worker:
    """Works on one study on one device.

    Args:
        args: What the agent said.
        study: What to work on.
        stopping: Set when it must end after the current batch.
        tell: Lets the agent tell the user.
        tell_epochs: Lets the agent show how many epochs of a trial are done, parts included.
        tell_over: Lets the agent forget a trial that has left the worker.
    """

    def __init__(
        self,
        args: WorkerArgs,
        study: SweepStudy,
        stopping: StopRequest,
        *,
        tell: Callable[[str], None],
        tell_epochs: Callable[[int, float], None],
        tell_over: Callable[[int], None],
    ) -> None:
        self._args = args
        self._study = study
        self._stopping = stopping
        self._tell = tell
        self._tell_epochs = tell_epochs
        self._tell_over = tell_over
        self._odd_metrics: set[str] = set()
        self._asking = AskingBudget(study.sampler, study.cache, self._note)
        self._transfer = (
            TrialTransfer(study.object_store, study.paths, self._note)
            if study.object_store
            else None
        )
        self._failed_before = frozenset(args.failed_before)
        self._ledger = TimeLedger(max(0.0, time.time() - args.given_s))
        self._reports = TurnReports(study)
        self._plan = self._settle_plan()
        self._count = LaneCount(self._plan, self._keep_best)
        self._runner = TrialRunner(
            args, study, stopping, plan=self._plan, ledger=self._ledger, note=self._note
        )
        self._n_at_work = 0
        self._memory = LaneMemory(self._runner.runtime.device, self._note)
        self._rooms = [
            [Room(study.paths.device_room(device)) for device in args.place.devices]
            for _ in range(self._plan.most)
        ]

    @store_errors()
    def _settle_plan(self) -> LanePlan:
        """The plan, as far as this study's trials can follow it, with what is known of the device.

        What is asked for and cannot be done is said.
        """
        study, plan = self._study, self._args.place.lanes
        if not plan.has_lanes:
            return plan
        if study.draws == "stream" and (key := drawing_key(study.spec)):
            self._note(
                "the study's trials are trained one by one, operator by operator: it began "
                f"without lanes, so what {key} draws would change with the company; begin another "
                "study with `--name NEW`, or leave run.lanes and run.pack out"
            )
            return ALONE
        if not plan.is_open:
            return plan
        known = best_lanes(study.attributes).get(self._device_name)
        return plan if known is None else plan.found(known.n, is_bound=known.is_most_tried)

    @property
    def _device_name(self) -> str:
        device, n_sharing = torch.device(self._args.place.device), self._args.place.n_sharing
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return name if n_sharing == 1 else f"{name} shared by {n_sharing} workers"

    def _keep_best(self, n: int, rates: Mapping[int, float]) -> None:
        best = BestLanes(n, list(rates.items()))
        keep_best_lanes(self._study.attributes, self._device_name, best)
        self._note(f"{self._device_name}: {best.explain()}")

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
                    self._count.look(())

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

        With several lanes, all trials that come while one of them is at work.
        """
        lanes = self._open_lanes([0], alone=alone)
        if not lanes:
            return False
        [lane] = lanes
        if lane.is_alone:
            self._end(lane, lane.run())
            self._count.look(())
        else:
            Lanes(
                self._count,
                self._ledger,
                packs=self._runner.packs,
                reports=self._reports,
                open_lanes=self._open_beside,
                end=self._end,
            ).run(lane)
        return True

    def _open_beside(self, places: Sequence[int]) -> list[Lane]:
        if not self._is_needed():
            return []
        n = min(len(places), self._count_wanted())
        fitting = self._memory.fitting(n, self._n_at_work) if n else 0
        return self._open_lanes(places[:fitting], beside=True)

    @store_errors()
    def _count_wanted(self) -> int:
        """Trials that are still wanted beside those that are finished or run."""
        trials, most = self._study.cache.look(), self._plan.most_running
        n = self._study.goal - trials.n_claimed
        if most is not None:
            n = min(n, most - len(trials.running))
        return max(0, n)

    def _open_lanes(
        self, places: Sequence[int], *, alone: bool = False, beside: bool = False
    ) -> list[Lane]:
        """Claim trials for lanes, as many as there are.

        The device comes before the claim, so that no trial runs while it still waits for it.

        Args:
            places: Of the lanes.
            alone: It is to have the device to itself.
            beside: Other lanes are at work, so nobody waits here.
        """
        with ExitStack() as entered:
            rooms = {}
            for place in places:
                held = entered.enter_context(ExitStack())
                if not self._enter(place, held, alone=alone, beside=beside):
                    break
                rooms[place] = held
            claimed = self._claim(len(rooms), alone=alone, beside=beside) if rooms else []
            return [
                self._new_lane(*each, place=place, held=held)
                for each, (place, held) in zip(claimed, rooms.items(), strict=False)
            ]

    def _enter(self, place: int, held: ExitStack, *, alone: bool, beside: bool) -> bool:
        """Enter the devices of a place; False if nobody wants to wait for them."""
        while_waiting = partial(self._while_waiting, alone=alone, beside=beside)
        try:
            with self._ledger.booked(Entry.WAITING):
                # In the order of devices, so that nobody waits in turn.
                for room in self._rooms[place]:
                    held.enter_context(room.entered(alone=alone, while_waiting=while_waiting))
        except _UnwantedError:
            return False
        return True

    def _new_lane(
        self, trial: RunningTrial, is_alone: bool, *, place: int, held: ExitStack
    ) -> Lane:
        held.callback(return_freed_memory)
        held.enter_context(trial)
        self._n_at_work += 1
        steps = self._runner.steps(trial, lane=None if is_alone else place)
        return Lane(trial, steps, place=place, is_alone=is_alone, held=held.pop_all())

    def _while_waiting(self, *, alone: bool, beside: bool) -> None:
        if beside or (alone and not self._is_alone_wanted()):
            raise _UnwantedError
        if self._stopping.is_set():
            raise TrialInterrupted("stopped while it waited for the device")
        return_device_memory(self._runner.runtime.device)

    @store_errors()
    def _claim(self, n: int, *, alone: bool, beside: bool) -> list[tuple[RunningTrial, bool]]:
        """The next trials, ``n`` at most, and whether each is to have the worker to itself."""
        with self._ledger.booked(Entry.CLAIM):
            claimed = self._study.queue.claim(
                self._args.agent,
                self._args.name,
                n=n,
                alone=alone,
                but=self._left_to_others(beside=beside),
            )
            trials = []
            for each in claimed:
                if self._has_files(Ownership.of(self._study, each)):
                    is_alone = alone or not self._plan.has_lanes or is_suspect(each)
                    trial = RunningTrial(
                        self._study,
                        each,
                        is_stopping=self._stopping.is_set,
                        ledger=self._ledger if is_alone else TimeLedger(),
                        transfer=self._transfer,
                        tell_epochs=self._tell_epochs,
                    )
                    trial.reports = None if is_alone else self._reports
                    trials.append((trial, is_alone))
            if len(trials) > 1:
                draw_together([trial for trial, _ in trials])
            self._ledger.hand_over([t.ledger for t, is_alone in trials if not is_alone])
        return trials

    def _has_files(self, ownership: Ownership) -> bool:
        """Whether what others did of a trial is here; if nobody knows, it is put back."""
        number, claim = ownership.number, ownership.owner.claim
        if self._transfer and not self._transfer.begin(number, claim):
            with ownership.settling():
                put_back(self._study, number)
            return False
        return True

    def _left_to_others(self, *, beside: bool) -> Container[int]:
        """Numbers of trials that are not claimed here now.

        One whose workers die is tried without company: nobody knows whose doing that was.
        """
        postponed: set[int] = self._transfer.postponed() if self._transfer else set()
        if not beside:
            return postponed
        waiting = self._study.cache.look().waiting
        return postponed | {trial.number for trial in waiting if is_suspect(trial)}

    def _end(self, lane: Lane, state: TrialState) -> None:
        """A trial has left the worker."""
        trial = lane.trial
        self._n_at_work -= 1
        if state == TrialState.WAITING and not lane.is_alone:
            self._lower_lanes(trial.number)
        self._tell_over(trial.number)
        self._tell_of_odd_metrics(trial)
        self._asking.spend(trial.asking_s, lane.busy_s - trial.asking_s)
        if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return
        if state == TrialState.FAILED:
            # Some errors spoil the whole process.
            torch.cuda.synchronize(self._runner.runtime.device)
        return_idle_memory(self._runner.runtime.device, self._args.place.n_sharing)

    @store_errors()
    def _lower_lanes(self, number: int) -> None:
        """Train no more at once than are at work now, if a trial was put back for want of memory.

        Args:
            number: Of the trial.
        """
        trial = self._study.storage.get_trial(self._study.trial_id(number))
        n = self._n_at_work
        if wants_device_alone(trial) and 0 < n < self._count.n:
            self._count.lower(n)
            self._note(
                f"trial {number}: there was not enough memory for {n + 1} trials at once; from "
                f"now on this worker trains {n}, and that one is tried again alone"
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

    def _note(self, text: str) -> None:
        log.warning("%s", text)
        self._tell(text)
