"""Checks of MLflow as a whole: what was not sent, the study's run, the trials' runs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.runs import Agreement, RunCheck
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.commands.progress import Ticker
from sweeper.commands.sync import open_mirror
from sweeper.errors import TrackerError
from sweeper.text import format_count
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import open_client
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.parent import parent_status
from sweeper.tracking.repair import StudyRuns
from sweeper.trial import TrialState

_BUSY = "a command on this machine sends to MLflow right now; look again when it has ended"


def check_tracking(snapshot: Snapshot, agreement: Agreement) -> Iterator[Finding]:
    """Whether MLflow says what the storage and the event logs say.

    While a command sends events, only trials are judged of which it has sent everything. And while
    commands on other machines work on the study, none are judged that it has elsewhere.

    Args:
        snapshot: The study.
        agreement: Counts what was looked at.
    """
    settled = [n for n in sorted(snapshot.trials) if _is_settled(snapshot, n)]
    try:
        study_runs = _open_runs(snapshot)  # not before: what is settled now, is in what they list
        for finding in _check(snapshot, study_runs, settled, agreement):
            yield replace(finding, advice=_BUSY, mend=None) if snapshot.is_sending else finding
    except TrackerError as exc:
        yield Finding("MLflow", str(exc), "what it has is not known")
        if unsent := _describe_unsent(snapshot, None):
            yield Finding("event logs", unsent, "`sweeper sync` sends them once it answers")


def _open_runs(snapshot: Snapshot) -> StudyRuns:
    uri = tracking_uri(snapshot.spec.tracking.uri, snapshot.paths)
    client = open_client(uri, snapshot.paths)
    mirror = partial(open_mirror, snapshot.found, has_storage=True)
    return StudyRuns(client, snapshot.study, mirror)


def _check(
    snapshot: Snapshot, study_runs: StudyRuns, settled: list[int], agreement: Agreement
) -> Iterator[Finding]:
    if not snapshot.is_sending:
        yield from _check_unsent(snapshot, study_runs)
        yield from _check_parents(snapshot, study_runs)
    ticker = Ticker(f"{snapshot.paths.study}: looking at MLflow", snapshot.note)
    for n_done, number in enumerate(settled):
        ticker.show(n_done, len(settled))
        if study_runs.parent is not None:
            yield from RunCheck(snapshot, study_runs, number).findings(agreement)
    if not snapshot.is_sending and not snapshot.is_elsewhere:
        yield from _check_unknown(snapshot, study_runs)
        yield from _check_parent_status(snapshot, study_runs)


def _is_settled(snapshot: Snapshot, number: int) -> bool:
    """Whether nothing is in flight between the trial and its run."""
    paths = snapshot.paths
    if snapshot.is_sending:
        return snapshot.has_ended(number) and Cursor.load(paths.shipped(number), None).is_ended
    is_here = paths.events(number).exists()
    if snapshot.is_elsewhere and not (is_here and snapshot.has_ended(number)):
        return False
    return snapshot.state(number) is not TrialState.RUNNING


def _check_unsent(snapshot: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    parent_id = study_runs.parent.run_id if study_runs.parent else ""
    if unsent := _describe_unsent(snapshot, parent_id):
        yield Finding("event logs", unsent, "sends them", study_runs.send)


def _describe_unsent(snapshot: Snapshot, parent_id: str | None) -> str:
    """How much MLflow is not known to have; empty if nothing, or while a command sends it."""
    paths = snapshot.paths
    unsent: list[int] = []
    for number in paths.trial_numbers():
        cursor = Cursor.load(paths.shipped(number), parent_id)
        if snapshot.state(number) is not TrialState.RUNNING:
            unsent.append(len(snapshot.log(number, cursor.offset)))
    if snapshot.is_sending or not any(unsent):
        return ""
    trials = format_count(sum(n > 0 for n in unsent), "trial")
    return f"{format_count(sum(unsent), 'event')} of {trials} yet to be sent to MLflow"


def _check_parents(snapshot: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    if study_runs.parent is None and snapshot.paths.trial_numbers():
        yield Finding("MLflow", "the study's run is missing", "creates it", study_runs.send)
    if len(study_runs.parents) > 1:

        def mend() -> None:
            study_runs.delete_later_parents()
            study_runs.send()

        what = f"there are {len(study_runs.parents)} runs of the study"
        yield Finding("MLflow", what, "keeps the eldest and sends it all", mend)


def _check_unknown(snapshot: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    for number in sorted(study_runs.children.keys() - snapshot.trials.keys()):
        what = "it has a run of this trial, which the storage does not know"
        mend = partial(study_runs.delete, study_runs.children[number])
        yield Finding(f"MLflow, trial {number}", what, "deletes it there", mend)


def _check_parent_status(snapshot: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    if not study_runs.parents or TrialState.RUNNING in map(snapshot.state, snapshot.trials):
        return
    study, status = snapshot.study, study_runs.parents[0].info.status
    wanted = parent_status(goal_reached=study.n_finished() >= study.goal, counts=study.counts())
    if status != wanted:
        what = f"the study's run is {status}, but should be {wanted}"
        yield Finding("MLflow", what, "sets it", study_runs.send)
