"""Checks of MLflow as a whole: what was not sent, the study's run, the trials' runs."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.runs import check_run
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.commands.ticker import Ticker
from sweeper.errors import TrackerError
from sweeper.text import format_count
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.parent import parent_status
from sweeper.tracking.repair import Records
from sweeper.trial import TrialState

_BUSY = "a command on this machine sends to MLflow right now; look again when it has ended"


def check_tracking(patient: Snapshot) -> Iterator[Finding]:
    """Whether MLflow says what the storage and the event logs say.

    While a command sends events, only trials are judged of which it has sent everything. And while
    commands on other machines work on the study, none are judged that it has elsewhere.
    """
    settled = [n for n in sorted(patient.trials) if _is_settled(patient, n)]
    try:
        records = Records(patient)  # not before: what is settled now, is in what they list
        for finding in _check(patient, records, settled):
            yield replace(finding, advice=_BUSY, mend=None) if patient.is_shipping else finding
    except TrackerError as exc:
        yield Finding("MLflow", str(exc), "what it has is not known")
        if unsent := _describe_unsent(patient, None):
            yield Finding("event logs", unsent, "`sweeper sync` sends them once it answers")


def _check(patient: Snapshot, records: Records, settled: list[int]) -> Iterator[Finding]:
    if not patient.is_shipping:
        yield from _check_unsent(patient, records)
        yield from _check_parents(patient, records)
    ticker = Ticker(f"{patient.begun.paths.study}: looking at MLflow", patient.note)
    for n_done, number in enumerate(settled):
        ticker.show(n_done, len(settled))
        if records.parent is not None:
            yield from check_run(patient, records, number)
    if not patient.is_shipping and not patient.is_elsewhere:
        yield from _check_strangers(patient, records)
        yield from _check_parent_status(patient, records)


def _is_settled(patient: Snapshot, number: int) -> bool:
    """Whether nothing is in flight between the trial and its run."""
    paths = patient.begun.paths
    if patient.is_shipping:
        return patient.has_ended(number) and Cursor.load(paths.shipped(number), None).is_ended
    is_here = paths.events(number).exists()
    if patient.is_elsewhere and not (is_here and patient.has_ended(number)):
        return False
    return patient.state(number) is not TrialState.RUNNING


def _check_unsent(patient: Snapshot, records: Records) -> Iterator[Finding]:
    parent_id = records.parent.run_id if records.parent else ""
    if unsent := _describe_unsent(patient, parent_id):
        yield Finding("event logs", unsent, "sends them", records.send)


def _describe_unsent(patient: Snapshot, parent_id: str | None) -> str:
    """How much MLflow is not known to have; empty if nothing, or while a command sends it."""
    paths = patient.begun.paths
    unsent: list[int] = []
    for number in paths.trial_numbers():
        cursor = Cursor.load(paths.shipped(number), parent_id)
        if patient.state(number) is not TrialState.RUNNING:
            unsent.append(len(patient.log(number, cursor.offset)))
    if patient.is_shipping or not any(unsent):
        return ""
    trials = format_count(sum(n > 0 for n in unsent), "trial")
    return f"{format_count(sum(unsent), 'event')} of {trials} yet to be sent to MLflow"


def _check_parents(patient: Snapshot, records: Records) -> Iterator[Finding]:
    if records.parent is None and patient.begun.paths.trial_numbers():
        yield Finding("MLflow", "the study's run is missing", "creates it", records.send)
    if len(records.parents) > 1:

        def mend() -> None:
            records.delete_rivals()
            records.send()

        what = f"there are {len(records.parents)} runs of the study"
        yield Finding("MLflow", what, "keeps the eldest and sends it all", mend)


def _check_strangers(patient: Snapshot, records: Records) -> Iterator[Finding]:
    for number in sorted(records.children.keys() - patient.trials.keys()):
        runs = records.children[number]

        what = "it has a run of this trial, which the storage does not know"
        mend = partial(records.delete, runs)
        yield Finding(f"MLflow, trial {number}", what, "deletes it there", mend)


def _check_parent_status(patient: Snapshot, records: Records) -> Iterator[Finding]:
    if not records.parents or TrialState.RUNNING in map(patient.state, patient.trials):
        return
    study, status = patient.study, records.parents[0].info.status
    wanted = parent_status(goal_reached=study.n_finished() >= study.goal, counts=study.counts())
    if status != wanted:
        what = f"the study's run is {status}, but should be {wanted}"
        yield Finding("MLflow", what, "sets it", records.send)
