"""``sweeper sync``: send to MLflow what was left behind, without running anything."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from sweeper.commands.progress import Ticker
from sweeper.config.references import import_folders, make_importable
from sweeper.config.study import StudySpec
from sweeper.errors import EventLogError, StoreError
from sweeper.events import Started, read_events
from sweeper.locks import FileLock
from sweeper.paths import RunPaths
from sweeper.study.find import FoundStudy, find_study
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.fetch import fetch_ended
from sweeper.study.storage.filesystem import read_mountinfo
from sweeper.study.storage.preflight import check_tracking_place
from sweeper.study.study import SweepStudy
from sweeper.text import format_count, redacted
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.mirror import Mirror
from sweeper.tracking.mirrored_study import Sent
from sweeper.tracking.sync import build_mirror, send_all

#: Of a trial's tags, those that its study's run has too.
_STUDY_TAGS = ("version.", "git_")


def sync_study(source: Path | StudySpec, *, root: Path, note: Callable[[str], None]) -> str:
    """Send all events and models of a study that MLflow does not have.

    Args:
        source: A study file, by its path or as it was read; or a folder
            ``mlruns/studies/<name>``, perhaps of another machine.
        root: The ``mlruns`` folder of study files.
        note: Told of progress and of what is left as it is.

    Returns:
        What was sent, in one line.

    Raises:
        SweeperError: If there is no such study, or MLflow does not take everything.
    """
    begun = find_study(source, root)
    if not begun.is_here:
        raise begun.not_begun()
    check_tracking_place(begun.spec, begun.paths, mountinfo=read_mountinfo())
    lock = FileLock(begun.paths.mirror_lock)
    with store_errors():
        is_ours = lock.try_acquire()
    if not is_ours:
        return f"{begun.paths.study}: another command on this machine sends its events right now"
    try:
        study, problem = begun.try_open()
        show = Ticker(f"{begun.paths.study}: sending", note).show
        if study is None:
            note(f"{problem}\nSo it is not known how the study stands; its own run stays as it is")
            trouble, mirror = None, open_mirror(begun, has_storage=False)
            mirror.send(show)
        else:
            trouble, mirror = _fetch_all_ended(study), open_mirror(begun, has_storage=True)
            send_all(mirror, study, show)
    finally:
        lock.release()
    if trouble:
        raise StoreError(
            f"{trouble}\nAll that is on this machine is sent; what is in the object store "
            "alone is not"
        ) from trouble
    uri = redacted(tracking_uri(begun.spec.tracking.uri, begun.paths))
    return f"{begun.paths.study}: {_describe(mirror.sent)}; {uri} has everything"


def _fetch_all_ended(study: SweepStudy) -> StoreError | EventLogError | None:
    """Bring here what nodes that are gone left in the object store of trials that have ended.

    Returns:
        The first trouble; other trials have been fetched.
    """
    trouble: StoreError | EventLogError | None = None
    try:
        for number in sorted(study.object_store.numbers()) if study.object_store else ():
            try:
                _fetch_if_ended(study, number)
            except (StoreError, EventLogError) as exc:
                trouble = trouble or exc
    except StoreError as exc:
        return exc
    return trouble


@store_errors()
def _fetch_if_ended(study: SweepStudy, number: int) -> None:
    assert study.object_store is not None
    if study.record(number).has_ended:
        fetch_ended(study.object_store, study.paths, number)


def open_mirror(begun: FoundStudy, *, has_storage: bool) -> Mirror:
    """The mirror of a study that nobody needs to be working on. Hold its ``mirror_lock``."""
    if begun.references:
        make_importable(import_folders(begun.spec.path))
    return build_mirror(
        begun.spec,
        begun.paths,
        recorded_tags(begun.paths),
        references=begun.references,
        is_start=False,
        has_storage=has_storage,
    )


def recorded_tags(paths: RunPaths) -> Mapping[str, str]:
    """What code ran, as the trials have it, for a study's run that has yet to be created."""
    for number in sorted(paths.trial_numbers()):
        with suppress(EventLogError):  # which the mirror tells
            for event in read_events(paths.events(number))[0]:
                if isinstance(event, Started) and event.tags:
                    return {k: v for k, v in event.tags.items() if k.startswith(_STUDY_TAGS)}
    return {}


def _describe(sent: Sent) -> str:
    if sent == Sent():
        return "nothing was left behind"
    models = f" and {format_count(sent.n_models, 'model')}" if sent.n_models else ""
    trials = format_count(sent.n_trials, "trial")
    return f"sent {format_count(sent.n_events, 'event')} of {trials}{models}"
