"""The mirror at work in the background of an agent."""

import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeper.errors import RequestRefusedError, TrackerError
from sweeper.lock import FileLock
from sweeper.result import Result
from sweeper.study import SweepStudy

if TYPE_CHECKING:
    from sweeper.tracking.mirror import Mirror

_INTERVAL_S = 0.5
_RETRY_S = 15.0
#: So long the end of a command may take without a word.
_QUIET_S = 2.0


class Shipping:
    """Ships a study's events to MLflow from a thread, as long as no other agent does.

    Trouble with MLflow is noted once and never disturbs training: what was not accepted is sent
    later, by this command or the next.
    """

    def __init__(
        self, study: SweepStudy, tags: dict[str, str], note: Callable[[str], None]
    ) -> None:
        self._study = study
        self._tags = tags
        self._note = note
        self._lock = FileLock(study.paths.mirror_lock)
        self._done = threading.Event()
        self._is_well = self._is_answering = True
        self._thread = threading.Thread(target=self._loop, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def finish(self, is_stopping: Callable[[], bool]) -> bool:
        """Ship what is left and close the parent run; whether MLflow has everything now.

        Takes as long as the rest needs while MLflow answers, and a minute at most when it does
        not.

        Args:
            is_stopping: Whether the user does not want to wait any longer.
        """
        self._done.set()
        self._thread.join(_QUIET_S)
        if self._thread.is_alive():
            self._note("sending the rest to MLflow; Ctrl-C leaves it to the next command ...")
        while self._thread.is_alive() and not is_stopping():
            self._thread.join(_INTERVAL_S)
        return self._is_well and not self._thread.is_alive()

    def _loop(self) -> None:
        while not self._lock.try_acquire():
            if self._done.wait(_INTERVAL_S):
                return  # another agent holds it, and ships what this one left as well
        try:
            # Importing mlflow takes a second of a core that a starting worker can use better.
            while not self._study.paths.trials_dir.exists() and not self._done.is_set():
                self._done.wait(_INTERVAL_S)
            mirror = self._build_mirror()
            while not self._done.is_set():
                self._ship(mirror)
                self._done.wait(_INTERVAL_S if self._is_well else _RETRY_S)
            self._ship(mirror)
            if self._is_answering:
                self._close(mirror)
        except Exception:
            self._is_well = False
            self._note(
                f"MLflow lacks events because of a bug in sweeper:\n{traceback.format_exc()}"
            )
        finally:
            self._lock.release()

    def _build_mirror(self) -> "Mirror":
        from sweeper.tracking.mirror import Mirror
        from sweeper.tracking.store import tracking_uri

        spec = self._study.spec
        return Mirror(
            self._study.paths,
            uri=tracking_uri(spec.tracking.uri, self._study.paths),
            study=spec.name,
            objective=spec.objective,
            log_models=spec.tracking.log_models,
            tags=self._tags,
        )

    def _ship(self, mirror: "Mirror") -> None:
        """One pass; trouble is noted once, and once that it is over."""
        try:
            mirror.ship()
        except TrackerError as exc:
            # A refused trial is no reason to leave the parent run as it is.
            self._is_answering = isinstance(exc, RequestRefusedError)
            self._note_trouble(exc)
            return
        if not self._is_well:
            self._note("MLflow answers again; everything held back has been sent")
        self._is_well = self._is_answering = True

    def _note_trouble(self, exc: TrackerError) -> None:
        if self._is_well:
            folder = self._study.paths.study_dir
            self._note(f"{exc}\nTraining goes on; the events wait in {folder}")
        self._is_well = False

    def _close(self, mirror: "Mirror") -> None:
        result = Result(self._study)
        try:
            mirror.finish(
                goal_reached=result.n_finished >= result.goal,
                best_trials=[best.number for best in result.front],
                counts=result.counts,
            )
        except TrackerError as exc:
            self._note_trouble(exc)
