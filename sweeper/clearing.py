"""What of ended trials leaves the depot, and when."""

import io
import threading
from collections.abc import Callable

from optuna.trial import FrozenTrial

from sweeper.errors import EventLogError, StoreError
from sweeper.events import Ended, read_events
from sweeper.storage import store_errors
from sweeper.study import Attr, Owner, SweepStudy
from sweeper.tracking.cursor import Cursor

_INTERVAL_S = 30.0
#: So long the end of a command waits for it; the next command does what is left.
_QUIET_S = 2.0


class Clearing:
    """Keeps a study's depot clear, if it has one, from a thread of an agent.

    The checkpoints of an ended trial go. Its event log, and the model of one that is complete,
    stay until MLflow has them. All agents do so, as the one that ended a trial may be gone.
    """

    def __init__(self, study: SweepStudy, note: Callable[[str], None]) -> None:
        self._study = study
        self._note = note
        self._done = threading.Event()
        self._is_well = True
        self._thread = threading.Thread(target=self._loop, name="clearing", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._study.depot:
            self._thread.start()

    def finish(self) -> None:
        """Look once more, after MLflow was sent what there was."""
        self._done.set()
        if self._study.depot:
            self._thread.join(_QUIET_S)

    def _loop(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._done.wait(_INTERVAL_S)
            try:
                self.clear()
            except (StoreError, EventLogError) as exc:
                if self._is_well:
                    self._note(f"{exc}\nWhat ended trials left in the depot stays for now")
                self._is_well = False
            else:
                self._is_well = True

    def clear(self) -> None:
        """Look at every trial of which the depot has something.

        Raises:
            StoreError: If the depot or the storage fails.
        """
        depot = self._study.depot
        assert depot is not None
        for number in sorted(depot.numbers()):
            with store_errors():
                trial = self._study.storage.get_trial(self._study.trial_id(number))
            if not trial.state.is_finished():
                continue
            if Cursor.load(self._study.paths.shipped(number), None).is_ended:
                depot.remove(number)
            else:
                self._keep_log(trial)

    def _keep_log(self, trial: FrozenTrial) -> None:
        depot, paths, number = self._study.depot, self._study.paths, trial.number
        assert depot is not None
        log, model = paths.events(number), paths.model(number)
        logged, _ = read_events(log)
        if not (logged and isinstance(logged[-1], Ended)):
            depot.strip(number, log.name)  # another node has the rest
            return
        files = {
            path.name: io.BytesIO(path.read_bytes()) for path in (log, model) if path.exists()
        }
        depot.push(number, Owner(*trial.user_attrs[Attr.OWNER]).claim, files)
