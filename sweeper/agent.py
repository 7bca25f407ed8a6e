"""One machine's part of a study: its workers, their deaths, the mirror, progress."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from sweeper.board import Board
from sweeper.claim import reclaim_orphans
from sweeper.errors import ExitCode, StudyError
from sweeper.machine import Placement, place_workers, version_tags
from sweeper.order import WorkerOrder
from sweeper.paths import RunPaths
from sweeper.preparation import prepare_study
from sweeper.progress import Display, Tally, open_display
from sweeper.reference import import_folders
from sweeper.result import Result
from sweeper.shipping import Shipping
from sweeper.spec import StudySpec
from sweeper.spec.render import render_study
from sweeper.study import FAILURE_STREAK, SweepStudy, create_study

_POLL_S = 0.25
_ORPHANS_EVERY_S = 5.0
_SILENT = "its process ended without a word"
#: Of a dead worker's log, shown to the user.
_LOG_LINES = 12


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
    display = open_display(spec.objective, as_json=as_json)
    try:
        prepared = prepare_study(spec, root, display.note)
        spec = prepared.spec
        paths = RunPaths(root, spec.name)
        study = create_study(spec, paths)
        aside = paths.resolved_spec.with_suffix(".tmp")
        aside.write_text(render_study(spec), encoding="utf-8")
        aside.replace(paths.resolved_spec)  # another command's workers may be reading it
        return _Agent(study, prepared.data_label, display).run()
    finally:
        display.close()


@dataclass
class _WorkerProcess:
    """A worker and the place it computes in."""

    name: str
    placement: Placement
    process: subprocess.Popen[bytes]
    log_path: Path

    def last_words(self) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


class _Agent:
    def __init__(self, study: SweepStudy, data_label: str, display: Display) -> None:
        self._study = study
        self._display = display
        self._data_label = data_label
        self._since = datetime.now()
        self._begun = time.monotonic()
        self._n_finished_before = study.n_finished()
        self._tags = version_tags(study.spec.path.absolute().parent)
        finished = [trial.number for trial in study.trials() if trial.state.is_finished()]
        self._board = Board(study.paths, study.spec.objective, finished)
        self._shipping = Shipping(study, self._tags, display.note)
        self._workers: list[_WorkerProcess] = []
        self._n_fruitless_deaths = 0
        self._signals: list[int] = []

    def run(self) -> Result:
        """Reach the goal, or say why not."""
        reclaim_orphans(self._study, _SILENT)
        goal, budget = self._study.goal, self._study.spec.budget.trials
        if budget and goal < budget:
            self._display.note(f"the grid has {goal} points, so the goal is not {budget} trials")
        with self._signals_handled():
            self._shipping.start()
            try:
                if not self._is_goal_reached():
                    self._work()
            finally:
                self._kill_workers()
                n_signals = len(self._signals)
                has_everything = self._shipping.finish(lambda: len(self._signals) > n_signals)
        return self._conclude(has_everything)

    def _is_goal_reached(self) -> bool:
        return self._study.n_finished() >= self._study.goal

    def _work(self) -> None:
        for placement in place_workers(self._study.spec):
            self._workers.append(self._start_worker(placement))
        looked = time.monotonic()
        while self._workers:
            self._tend_workers()
            if time.monotonic() - looked > _ORPHANS_EVERY_S:
                reclaim_orphans(self._study, _SILENT)  # another command's, killed with its workers
                looked = time.monotonic()
            self._show()
            if self._signals or self._is_out_of_time():
                self._drain()
                return
            time.sleep(_POLL_S)
        self._show()

    def _start_worker(self, placement: Placement) -> _WorkerProcess:
        spec, paths = self._study.spec, self._study.paths
        name = uuid.uuid4().hex[:12]
        order = WorkerOrder(
            root=str(paths.root),
            study=spec.name,
            storage=spec.storage,
            name=name,
            import_dirs=import_folders(spec.path),
            device=placement.device,
            n_threads=placement.n_threads,
            data_label=self._data_label,
            since=self._since.isoformat(),
            tags=self._tags,
        )
        log_path = paths.worker_log(name)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sweeper.worker"],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                env={**os.environ, "OMP_NUM_THREADS": str(placement.n_threads)},
                start_new_session=True,  # Ctrl-C in the terminal is for the agent alone
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died already, which is noticed like any other death
            process.stdin.write(order.encode())
            process.stdin.flush()
        return _WorkerProcess(name, placement, process, log_path)

    def _tend_workers(self) -> None:
        """Replace dead workers; let go of those that found nothing more to do."""
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            self._workers.remove(worker)
            if code == 0 and not (self._study.paths.presence_dir / worker.name).exists():
                if worker.log_path.stat().st_size == 0:
                    worker.log_path.unlink()
                continue  # it took its leave; user code that ends the process does not
            self._mourn(worker, code)
            if not self._is_goal_reached():
                self._workers.append(self._start_worker(worker.placement))

    def _mourn(self, worker: _WorkerProcess, code: int) -> None:
        death = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        n_orphans = reclaim_orphans(self._study, f"its worker died: {death}", is_fault=True)
        self._display.note(
            f"a worker died ({death}); "
            + ("its trial goes back to waiting, " if n_orphans else "")
            + f"another takes its place; log: {worker.log_path}"
        )
        self._n_fruitless_deaths = 0 if n_orphans else self._n_fruitless_deaths + 1
        if self._n_fruitless_deaths >= FAILURE_STREAK:
            raise StudyError(
                f"{FAILURE_STREAK} workers in a row died before they could claim a trial "
                f"({death}); the last words of the last one:\n{worker.last_words()}"
            )

    def _show(self) -> None:
        ended = self._board.poll()
        n_finished = self._study.n_finished()
        tally = Tally(n_finished, self._study.goal, self._eta_s(n_finished))
        for row in ended:
            self._display.ended(row, tally)
        self._display.show(self._board, tally)

    def _eta_s(self, n_finished: int) -> float | None:
        n_done = n_finished - self._n_finished_before
        if n_done == 0:
            return None
        return (time.monotonic() - self._begun) / n_done * (self._study.goal - n_finished)

    def _is_out_of_time(self) -> bool:
        timeout_s = self._study.spec.budget.timeout
        return timeout_s is not None and time.monotonic() - self._begun > timeout_s

    def _drain(self) -> None:
        """Let running trials end at their next epoch; a second signal ends them at once."""
        reason = "stopping" if self._signals else "budget.timeout is over"
        again = "; once more stops at once" if self._signals else ""
        self._display.note(f"{reason}: running trials go to their next checkpoint{again}")
        n_patient = 1 if self._signals else 0
        for worker in self._workers:
            worker.process.terminate()
        while any(worker.process.poll() is None for worker in self._workers):
            self._show()
            if len(self._signals) > n_patient:
                return
            time.sleep(_POLL_S)
        self._show()

    def _kill_workers(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()
        reclaim_orphans(self._study, "stopped at once")

    def _conclude(self, has_everything: bool) -> Result:
        cause = self._study.failure_streak(self._since)
        if cause is not None:
            raise StudyError(
                f"stopped: at least {FAILURE_STREAK} trials in a row failed, the latest of "
                f"{cause}\n{self._details_of(cause)}"
            )
        code = ExitCode.GOAL_REACHED
        if not self._is_goal_reached():
            code = ExitCode.INTERRUPTED if signal.SIGINT in self._signals else ExitCode.STOPPED
        result = Result(self._study, code)
        path = self._study.spec.path
        hints = [f"compare them: sweeper ui {path}"]
        if code != ExitCode.GOAL_REACHED:
            hints.append(f"the same command goes on: sweeper run {path}")
        if not has_everything:
            hints.append("MLflow does not have everything yet; the same command sends the rest")
        self._display.summary(result, hints)
        return result

    def _details_of(self, cause: str) -> str:
        failures = Result(self._study).failures
        return next(failure.details for failure in failures if failure.cause == cause)

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of dying of them; only a main thread may do so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        before = {
            number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
