"""Checks of what lies in the study's folder and in the data cache."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.data.cache import damaged_entries, remove_entry
from sweeper.durable import aside_of
from sweeper.errors import EventLogError
from sweeper.events import read_events
from sweeper.locks import FileLock
from sweeper.paths import RunPaths
from sweeper.study.storage.journal import cut_torn_tail, has_torn_tail
from sweeper.training.checkpoint import is_whole
from sweeper.trial import TrialState

_TORN = "its last line was not written to its end"


def check_journal(paths: RunPaths) -> Iterator[Finding]:
    """A journal whose writer was killed, or ran out of disk, in the middle of a line."""
    if not paths.journal.exists():
        return
    lock = FileLock(paths.journal_lock)  # without it, a line that is being written looks torn
    with lock.held():
        is_torn = has_torn_tail(paths.journal)

    def mend() -> None:
        with lock.held():
            cut_torn_tail(paths.journal)

    if is_torn:
        yield Finding(str(paths.journal), _TORN, "cuts it off", mend)


def check_logs(snapshot: Snapshot) -> Iterator[Finding]:
    """Event logs that cannot be read, or that end in a torn line and have no next writer."""
    paths = snapshot.paths
    for number in sorted(paths.trial_numbers()):
        path = paths.events(number)
        try:
            read_events(path)
        except EventLogError as exc:
            yield Finding(str(path), f"cannot be read: {exc}", "it stays as it is")
        if path.exists() and snapshot.has_ended(number) and has_torn_tail(path):
            yield Finding(str(path), _TORN, "cuts it off", partial(cut_torn_tail, path))


def check_checkpoints(snapshot: Snapshot) -> Iterator[Finding]:
    """Checkpoints that nobody will go on from, and those that nobody can go on from."""
    paths = snapshot.paths
    for number in sorted(paths.trial_numbers()):
        checkpoint = paths.checkpoint(number)
        if snapshot.has_ended(number):
            state = snapshot.state(number)
            why = "the storage does not know this trial" if state is None else f"it is {state}"
            for path in _leftovers(snapshot, number):
                what = f"left behind, {path.stat().st_size:,} bytes: {why}"
                yield Finding(str(path), what, "removes it", partial(_remove, path))
        elif snapshot.state(number) is TrialState.WAITING and _is_damaged(checkpoint):
            advice = "removes it, and the trial starts over"
            yield Finding(
                str(checkpoint), "its checksum is wrong", advice, partial(_remove, checkpoint)
            )


def _leftovers(snapshot: Snapshot, number: int) -> list[Path]:
    paths = snapshot.paths
    # What a mirror writes of a trial that ended just now may be on its way.
    written = (paths.shipped(number), paths.mlflow_run(number)) if snapshot.is_sending else ()
    in_flight = [aside_of(path) for path in written]
    logged = paths.logged_files(number).rglob("*.tmp")
    return [
        path
        for path in [*sorted(paths.trial_dir(number).iterdir()), *sorted(logged)]
        if path == paths.checkpoint(number)
        or (path.suffix in (".tmp", ".broken") and path not in in_flight)
    ]


def _is_damaged(checkpoint: Path) -> bool:
    return checkpoint.exists() and not is_whole(checkpoint)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def check_cache(paths: RunPaths) -> Iterator[Finding]:
    """Decoded data sets whose files have changed since they were written."""
    for folder in damaged_entries(paths.cache_dir):
        advice = "removes it, and the data are decoded anew"
        yield Finding(str(folder), "its checksum is wrong", advice, partial(remove_entry, folder))
