"""Checks of MLflow as a whole: what was not sent, the study's run, the trials' runs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.runs import check_run
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.commands.sync import open_mirror
from sweeper.commands.ticker import Ticker
from sweeper.errors import TrackerError
from sweeper.text import format_count
from sweeper.tracking.client import open_client, tracking_uri
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.parent import parent_status
from sweeper.tracking.repair import StudyRuns
from sweeper.trial import TrialState

_BUSY = "a command on this machine sends to MLflow right now; look again when it has ended"


def check_tracking(patient: Snapshot) -> Iterator[Finding]:
    """Whether MLflow says what the storage and the event logs say.

    While a command sends events, only trials are judged of which it has sent everything. And while
    commands on other machines work on the study, none are judged that it has elsewhere.
    """
    settled = [n for n in sorted(patient.trials) if _is_settled(patient, n)]
    try:
        study_runs = _open_runs(patient)  # not before: what is settled now, is in what they list
        for finding in _check(patient, study_runs, settled):
            yield replace(finding, advice=_BUSY, mend=None) if patient.is_sending else finding
    except TrackerError as exc:
        yield Finding("MLflow", str(exc), "what it has is not known")
        if unsent := _describe_unsent(patient, None):
            yield Finding("event logs", unsent, "`sweeper sync` sends them once it answers")


def _open_runs(patient: Snapshot) -> StudyRuns:
    begun = patient.begun
    uri = tracking_uri(begun.spec.tracking.uri, begun.paths)
    client = open_client(uri, begun.paths)
    return StudyRuns(client, uri, patient.study, partial(open_mirror, begun, has_storage=True))


def _check(patient: Snapshot, study_runs: StudyRuns, settled: list[int]) -> Iterator[Finding]:
    if not patient.is_sending:
        yield from _check_unsent(patient, study_runs)
        yield from _check_parents(patient, study_runs)
    ticker = Ticker(f"{patient.begun.paths.study}: looking at MLflow", patient.note)
    for n_done, number in enumerate(settled):
        ticker.show(n_done, len(settled))
        if study_runs.parent is not None:
            yield from check_run(patient, study_runs, number)
    if not patient.is_sending and not patient.is_elsewhere:
        yield from _check_unknown(patient, study_runs)
        yield from _check_parent_status(patient, study_runs)


def _is_settled(patient: Snapshot, number: int) -> bool:
    """Whether nothing is in flight between the trial and its run."""
    paths = patient.begun.paths
    if patient.is_sending:
        return patient.has_ended(number) and Cursor.load(paths.shipped(number), None).is_ended
    is_here = paths.events(number).exists()
    if patient.is_elsewhere and not (is_here and patient.has_ended(number)):
        return False
    return patient.state(number) is not TrialState.RUNNING


def _check_unsent(patient: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    parent_id = study_runs.parent.run_id if study_runs.parent else ""
    if unsent := _describe_unsent(patient, parent_id):
        yield Finding("event logs", unsent, "sends them", study_runs.send)


def _describe_unsent(patient: Snapshot, parent_id: str | None) -> str:
    """How much MLflow is not known to have; empty if nothing, or while a command sends it."""
    paths = patient.begun.paths
    unsent: list[int] = []
    for number in paths.trial_numbers():
        cursor = Cursor.load(paths.shipped(number), parent_id)
        if patient.state(number) is not TrialState.RUNNING:
            unsent.append(len(patient.log(number, cursor.offset)))
    if patient.is_sending or not any(unsent):
        return ""
    trials = format_count(sum(n > 0 for n in unsent), "trial")
    return f"{format_count(sum(unsent), 'event')} of {trials} yet to be sent to MLflow"


def _check_parents(patient: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    if study_runs.parent is None and patient.begun.paths.trial_numbers():
        yield Finding("MLflow", "the study's run is missing", "creates it", study_runs.send)
    if len(study_runs.parents) > 1:

        def mend() -> None:
            study_runs.delete_later_parents()
            study_runs.send()

        what = f"there are {len(study_runs.parents)} runs of the study"
        yield Finding("MLflow", what, "keeps the eldest and sends it all", mend)


def _check_unknown(patient: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    for number in sorted(study_runs.children.keys() - patient.trials.keys()):
        runs = study_runs.children[number]

        what = "it has a run of this trial, which the storage does not know"
        mend = partial(study_runs.delete, runs)
        yield Finding(f"MLflow, trial {number}", what, "deletes it there", mend)


def _check_parent_status(patient: Snapshot, study_runs: StudyRuns) -> Iterator[Finding]:
    if not study_runs.parents or TrialState.RUNNING in map(patient.state, patient.trials):
        return
    study, status = patient.study, study_runs.parents[0].info.status
    wanted = parent_status(goal_reached=study.n_finished() >= study.goal, counts=study.counts())
    if status != wanted:
        what = f"the study's run is {status}, but should be {wanted}"
        yield Finding("MLflow", what, "sets it", study_runs.send)
