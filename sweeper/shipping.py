"""The mirror at work in the background of an agent."""

import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeper.errors import TrackerError
from sweeper.lock import FileLock
from sweeper.result import Result
from sweeper.study import SweepStudy

if TYPE_CHECKING:
    from sweeper.tracking.mirror import Mirror

_INTERVAL_S = 0.5
_RETRY_S = 5.0
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
        self._is_well = True
        self._thread = threading.Thread(target=self._loop, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def finish(self) -> bool:
        """Ship what is left and close the parent run; whether MLflow has everything now.

        Takes as long as the rest needs while MLflow answers, and a minute at most when it does
        not.
        """
        self._done.set()
        self._thread.join(_QUIET_S)
        if self._thread.is_alive():
            self._note("sending the rest to MLflow ...")
            self._thread.join()
        return self._is_well

    def _loop(self) -> None:
        while not self._lock.try_acquire():
            if self._done.wait(_INTERVAL_S):
                return
        try:
            # Importing mlflow takes a second of a core that a starting worker can use better.
            while not self._study.paths.trials_dir.exists() and not self._done.is_set():
                self._done.wait(_INTERVAL_S)
            mirror = self._build_mirror()
            while not self._done.is_set():
                self._attempt(mirror.ship)
                self._done.wait(_INTERVAL_S if self._is_well else _RETRY_S)
            self._attempt(mirror.ship)
            if self._is_well:
                self._attempt(lambda: self._close(mirror))
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

    def _attempt(self, send: Callable[[], object]) -> None:
        try:
            send()
        except TrackerError as exc:
            if self._is_well:
                self._note(
                    f"{exc}\nTraining goes on; the events wait in {self._study.paths.study_dir}"
                )
            self._is_well = False
        else:
            if not self._is_well:
                self._note("MLflow answers again; everything held back has been sent")
            self._is_well = True

    def _close(self, mirror: "Mirror") -> None:
        result = Result(self._study)
        mirror.finish(
            goal_reached=result.n_finished >= result.goal,
            best_trials=[best.number for best in result.front],
            counts=result.counts,
        )
