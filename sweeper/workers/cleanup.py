"""What of ended trials lies in the object store, and when it leaves it."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

from sweeper.errors import EventLogError, StoreError
from sweeper.events import Ended, read_events
from sweeper.outage import Outage
from sweeper.study.attributes import TrialRecord
from sweeper.study.result import Result
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.fetch import kept_preprocessing
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.study import SweepStudy
from sweeper.tracking.cursor import Cursor

_INTERVAL_S = 30.0
#: So long the end of a command waits for it; the next command does what is left.
_QUIET_S = 2.0


class Cleanup:
    """Keeps a study's object store clear, if it has one, from a thread of an agent.

    Of an ended trial the agent that saw it end leaves the log, the model and the files that its
    code logged there, in the place of the checkpoints, until MLflow has them; the best ones, where
    no other models are logged, until the goal is reached. Should this node vanish, ``sweeper
    sync`` on another sends them.
    """

    def __init__(self, study: SweepStudy, note: Callable[[str], None]) -> None:
        self._study = study
        self._done = threading.Event()
        self._has_everything = False
        self._outage = Outage(
            note, meanwhile="What ended trials left in the object store stays for now"
        )
        self._cleared: set[int] = set()
        self._thread = threading.Thread(target=self._loop, name="cleanup", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._study.object_store:
            self._thread.start()

    def finish(self, *, has_everything: bool) -> None:
        """Look once more.

        Args:
            has_everything: MLflow has all that this agent was to send.
        """
        self._has_everything = has_everything
        self._done.set()
        if self._study.object_store:
            self._thread.join(_QUIET_S)

    def _loop(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._done.wait(_INTERVAL_S)
            try:
                self.clear()
            except (StoreError, EventLogError) as exc:
                self._outage.bear(exc)
            else:
                self._outage.end()

    def clear(self) -> None:
        """Look at every trial that has files in the object store, or ended here and is not sent.

        Raises:
            StoreError: If object store or storage failed; other trials have been looked at.
            EventLogError: The same if a log is damaged.
        """
        object_store = self._study.object_store
        assert object_store is not None
        trouble: StoreError | EventLogError | None = None
        kept, there = self._kept(), object_store.numbers()
        for number in sorted(there | self._study.paths.trial_numbers() - self._cleared):
            try:
                self._look_at(
                    object_store, number, is_kept=number in kept, is_there=number in there
                )
            except (StoreError, EventLogError) as exc:
                trouble = trouble or exc
        if trouble:
            raise trouble

    @store_errors()
    def _kept(self) -> set[int]:
        """Trials whose model MLflow may yet want, although it has their log."""
        study = self._study
        if study.spec.tracking.log_models != "best":
            return set()
        is_over = study.n_finished() >= study.goal and self._has_everything
        return set() if is_over else {best.number for best in Result(study).front}

    @store_errors()
    def _look_at(
        self, object_store: ObjectStore, number: int, *, is_kept: bool, is_there: bool
    ) -> None:
        is_done = Cursor.load(self._study.paths.shipped(number), None).is_ended and not is_kept
        if is_done and not is_there:  # most trials, so neither storage nor object store is asked
            self._cleared.add(number)
            return
        trial = self._study.record(number)
        if not trial.has_ended:
            return
        if is_done:
            object_store.remove(number)
        else:
            self._leave(object_store, trial)

    def _leave(self, object_store: ObjectStore, trial: TrialRecord) -> None:
        paths, number = self._study.paths, trial.number
        log = paths.events(number)
        logged, _ = read_events(log)
        if not (logged and isinstance(logged[-1], Ended)):
            return  # the node that has the rest does it
        places = {
            path.relative_to(log.parent).as_posix(): path
            for path in [log, *paths.sendable_files(number)]
        } | {path.name: path for path in kept_preprocessing(paths, logged)}
        assert trial.owner, "it was claimed before it ended"
        with ExitStack() as opened:
            files = {
                name: opened.enter_context(path.open("rb"))
                for name, path in places.items()
                if path.exists()
            }
            # Under a number that no claim will have: the worker may still push under its own.
            object_store.push(number, trial.owner.claim + 1, files)
