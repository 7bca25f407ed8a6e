"""All checks in their order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.commands.doctor.files import check_cache, check_checkpoints, check_journal, check_logs
from sweeper.commands.doctor.finding import Diagnosis, Finding
from sweeper.commands.doctor.jobs import check_submissions
from sweeper.commands.doctor.runs import Agreement
from sweeper.commands.doctor.snapshot import Snapshot, are_others_at_work
from sweeper.commands.doctor.tracking import check_tracking
from sweeper.commands.doctor.trials import check_orphans
from sweeper.config.reader import load_study
from sweeper.config.study import StudySpec
from sweeper.launchers.submission import read_submissions
from sweeper.locks import FileLock
from sweeper.paths import RunPaths
from sweeper.study.find import FoundStudy, find_study
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.text import format_count


@store_errors()
def examine_study(
    source: Path | StudySpec,
    *,
    root: Path,
    fix: bool,
    show: Callable[[str], None],
    note: Callable[[str], None],
) -> bool:
    """List what disagrees in a study, and mend it if that is wanted.

    A study in order takes one line. What is merely in flight, as a command works on the study, is
    no finding.

    Args:
        source: A study file, by its path or as it was read; or a folder ``mlruns/studies/<name>``.
        root: The ``mlruns`` folder of study files.
        fix: Mend what can be mended.
        show: Takes the lines of the answer.
        note: Told of progress.

    Returns:
        Whether all is well now.

    Raises:
        SweeperError: If there is no such study, or disk or storage fail.
    """
    diagnosis = Diagnosis(fix=fix, show=show)
    submitted = _submitted(source, root)
    diagnosis.take(check_submissions(submitted))
    found = find_study(source, root)
    if not found.is_here:
        absence = _explain_absence(found, submitted)
        if diagnosis.n_found == 0 and not absence:
            raise found.not_begun()
        show(f"{submitted.study}: {'; '.join(filter(None, [diagnosis.summary(), absence]))}")
        return diagnosis.is_well
    diagnosis.take(check_journal(found.paths))
    study, problem = found.try_open()
    if study:
        verdict = _examine(found, study, diagnosis, note)
    else:
        verdict = ""
        advice = "so trials, checkpoints and MLflow are not looked at"
        diagnosis.take([Finding("storage", problem, advice)])
    diagnosis.take(check_cache(found.paths))
    show(f"{found.paths.study}: {diagnosis.summary() or verdict}")
    return diagnosis.is_well


def _explain_absence(found: FoundStudy, submitted: RunPaths) -> str:
    """Why a study may well be in order though no folder of it is here; empty if it has not begun.

    Raises:
        StudyError: If its storage is out of reach.
    """
    # A journal lies in the folder, so without one there is none.
    if found.spec.storage != "auto" and found.open() is not None:
        return (
            "it has begun in its storage, and nothing of it lies here; look where its agents run"
        )
    return "it was submitted, and has not begun" if _is_submitted(submitted) else ""


def _is_submitted(paths: RunPaths) -> bool:
    return bool(read_submissions(paths, lambda damage: None))


def _submitted(source: Path | StudySpec, root: Path) -> RunPaths:
    """Where submissions lie: under the name of the study file, whatever data it fell back on."""
    if isinstance(source, StudySpec):
        return RunPaths(root, source.name)
    if source.is_dir():
        folder = source.resolve()
        return RunPaths(folder.parent.parent, folder.name)
    return RunPaths(root, load_study(source).name)


def _examine(
    found: FoundStudy, study: SweepStudy, diagnosis: Diagnosis, note: Callable[[str], None]
) -> str:
    """Look at all that needs the storage; the line to say if nothing is found."""
    is_elsewhere = are_others_at_work(study, note)
    agreement = Agreement()
    with _mirror_lock(found.paths, is_mending=diagnosis.fix) as is_alone:
        snapshot = Snapshot(found, study, not is_alone, is_elsewhere, note)
        diagnosis.take(check_logs(snapshot))
        diagnosis.take(check_orphans(snapshot))
        diagnosis.take(check_tracking(snapshot, agreement))
        # Last, as a trial that had just ended may still have been tidying up.
        diagnosis.take(check_checkpoints(snapshot))
    is_certain = is_alone and not is_elsewhere
    caveat = "" if is_certain else " as far as can be told while a command works on it"
    trials = format_count(len(snapshot.trials), "trial")
    epochs = format_count(agreement.n_epochs, "epoch")
    runs = format_count(agreement.n_runs, "MLflow run")
    return f"healthy{caveat}: {trials}, {epochs} and {runs} agree"


@contextmanager
def _mirror_lock(paths: RunPaths, *, is_mending: bool) -> Iterator[bool]:
    """Whether no command on this machine sends events, and none begins to while we mend."""
    lock = FileLock(paths.mirror_lock)
    is_alone = lock.try_acquire()
    if is_alone and not is_mending:
        lock.release()
    try:
        yield is_alone
    finally:
        if is_alone and is_mending:
            lock.release()
