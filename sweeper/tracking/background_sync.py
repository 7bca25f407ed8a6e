"""A study's events sent to MLflow from a thread, while trials are trained."""

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable

from sweeper.config.user_code import references
from sweeper.errors import StoreError, TrackerError
from sweeper.locks import FileLock
from sweeper.outage import Outage
from sweeper.study.study import SweepStudy
from sweeper.tracking.completion import find_completion
from sweeper.tracking.exporting import OwnedExporter
from sweeper.tracking.sync import build_mirror, send_all

_logger = logging.getLogger("sweeper")

_INTERVAL_S = 0.5
_RETRY_S = 15.0
#: So long the end of a command may take without a word.
_QUIET_S = 2.0


class BackgroundSync:
    """Sends a study's events to MLflow from a thread, as long as no other agent does.

    Trouble with MLflow is noted once and never disturbs training: what was not accepted is sent
    later, by this command or the next. If the thread dies of anything else, that is noted and it
    begins anew, as whatever it had sent is known by the cursors.

    Args:
        study: Begun.
        tags: Of the study's run in MLflow.
        note: Told of trouble.
        exporter: Exports models in another process, which it ends; None for this one.
    """

    def __init__(
        self,
        study: SweepStudy,
        tags: dict[str, str],
        note: Callable[[str], None],
        exporter: OwnedExporter | None = None,
    ) -> None:
        self._study = study
        self._exporter = exporter
        self._tags = tags
        self._note = note
        self._lock = FileLock(study.paths.mirror_lock)
        self._done = threading.Event()
        self._is_broken = self._is_left = False
        self._causes: set[str] = set()
        waiting = "Trials that begin wait for their runs" if study.spec.shares_runs else ""
        self._outage = Outage(
            note,
            meanwhile=f"{waiting or 'Training goes on'}; the events wait in "
            f"{study.paths.study_dir}",
            over="MLflow answers again; everything held back has been sent",
        )
        self._thread = threading.Thread(target=self._loop, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self, is_stopping: Callable[[], bool], *, limit_s: float | None = None) -> bool:
        """Send what is left and close the parent run; whether MLflow has everything now.

        Takes as long as the rest needs while MLflow answers, and a minute at most when it does
        not.

        Args:
            is_stopping: Whether the user does not want to wait any longer.
            limit_s: Seconds after which the rest is left to the next command; None for no
                limit. A scheduler that has sent its signal soon kills.
        """
        begun_s = time.monotonic()
        self._done.set()
        self._thread.join(_QUIET_S if limit_s is None else min(_QUIET_S, limit_s))
        if self._thread.is_alive() and limit_s is None:
            self._note("sending the rest to MLflow; Ctrl-C leaves it to the next command ...")
        while self._thread.is_alive() and not is_stopping():
            left_s = math.inf if limit_s is None else limit_s - (time.monotonic() - begun_s)
            if left_s <= 0:
                break
            self._thread.join(min(_INTERVAL_S, left_s))
        self._is_left = self._thread.is_alive()
        if self._is_left and self._exporter:
            self._exporter.close()  # what it exports may never come to an end
        return not (self._is_broken or self._outage.is_on or self._is_left)

    def _loop(self) -> None:
        if not self._acquire():
            return  # another agent holds it, and sends what this one left as well
        try:
            is_last = False
            while not is_last:
                # Also if the command is at its end before this thread has begun, it tries twice.
                is_last = self._done.is_set() and self._is_broken
                try:
                    self._send_to_the_end()
                    self._is_broken = False
                    return
                except BaseException as exc:  # MLflow and its plugins may end it by SystemExit too
                    self._is_broken = True
                    self._tell_death(exc)
                self._done.wait(_RETRY_S)
        finally:
            self._lock.release()
            if self._exporter:
                self._exporter.close()

    def _send_to_the_end(self) -> None:
        if find_completion(self._study):
            return  # without MLflow, whose import takes longer than all else then
        self._begin_exporter()
        spec = self._study.spec
        mirror = build_mirror(
            spec,
            self._study.paths,
            self._tags,
            references={name for _, name in references(spec)},
            is_start=True,
            exporter=self._exporter,
        )
        while not self._done.is_set():
            self._try(mirror.send)
            mirror.prepare_end()
            self._done.wait(_RETRY_S if self._outage.is_on else _INTERVAL_S)
        self._try(lambda: send_all(mirror, self._study))

    def _begin_exporter(self) -> None:
        """If each trial's model is to be exported, let a thread begin with what that takes."""
        spec = self._study.spec
        if self._exporter and spec.tracking.log_models == "completed" and "model" in spec.sections:
            args = (self._study, self._exporter)
            threading.Thread(target=_prepare, args=args, name="models", daemon=True).start()

    def _tell_death(self, exc: BaseException) -> None:
        """Note once that it died of that, though it may die of it again and again."""
        cause = repr(exc)
        if cause not in self._causes:
            self._causes.add(cause)
            self._note(
                f"{''.join(traceback.format_exception(exc))}WARNING: what sends to MLflow died of "
                f"this; it begins anew every {_RETRY_S:.0f} s and at the end. Training goes on; "
                f"the events wait in {self._study.paths.study_dir}"
            )

    def _acquire(self) -> bool:
        """Become the one that sends; at the end of the command only if nobody else stays."""
        while not self._lock.try_acquire():
            if self._done.wait(_INTERVAL_S):
                time.sleep(_QUIET_S / 2)  # for one that is at its own end, and looks no more
                return self._lock.try_acquire()
        return True

    def _try(self, send: Callable[[], object]) -> None:
        """One pass; trouble is noted once, and once that it is over."""
        try:
            send()
        except (TrackerError, StoreError) as exc:
            if not self._is_left:  # else the user knows
                self._outage.bear(exc)
        else:
            self._outage.end()


def _prepare(study: SweepStudy, exporter: OwnedExporter) -> None:
    """Begin it once what forks it has torch, and import meanwhile what else an end takes."""
    try:
        if study.n_finished() >= study.goal:
            return  # it is begun if a model is missing
        exporter.begin()
        from sweeper.tracking.description import prepare_description
        from sweeper.tracking.programs import prepare_programs

        prepare_programs()
        prepare_description()
    except Exception:  # it comes again with the first model, or with the pictures
        _logger.debug("what a study's end takes is not prepared", exc_info=True)
