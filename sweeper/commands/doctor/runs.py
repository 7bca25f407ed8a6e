"""Checks of one trial's MLflow run against the storage and the trial's event log."""

from collections.abc import Iterator
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.events import Ended, Event, Started
from sweeper.text import format_count
from sweeper.tracking.batch import RUN_STATUS, best_values, param_texts
from sweeper.tracking.repair import StudyRuns
from sweeper.tracking.run_state import RunState
from sweeper.trial import EpochMetrics, TrialState


def check_run(patient: Snapshot, study_runs: StudyRuns, number: int) -> Iterator[Finding]:
    """Whether the trial has one run, which says what the storage and the event log say."""
    events = patient.log(number)
    if len(study_runs.children.get(number, [])) > 1:
        yield _doubled_run(study_runs, number)
    if study_runs.run_of(number) is None:
        yield from _missing_run(patient, study_runs, number, events)
        return
    if events:
        yield from _check_content(patient, study_runs, number, events)
    yield from _check_state(patient, study_runs, number, events)
    patient.n_runs += 1


def _doubled_run(study_runs: StudyRuns, number: int) -> Finding:
    runs, kept = study_runs.children[number], study_runs.run_of(number)

    def mend() -> None:
        study_runs.delete(run for run in runs if run is not kept)
        study_runs.send([number])

    what = f"MLflow has {len(runs)} runs of it"
    return Finding(f"trial {number}", what, "keeps one of them", mend)


def _missing_run(
    patient: Snapshot, study_runs: StudyRuns, number: int, events: list[Event]
) -> Iterator[Finding]:
    where, what = f"trial {number}", "MLflow has no run of it"
    if events:
        yield Finding(where, what, "sends it", partial(study_runs.send, [number]))
    elif patient.has_ended(number):
        yield Finding(where, what, "run `sweeper sync` on the machine that has its event log")


def _check_content(
    patient: Snapshot, study_runs: StudyRuns, number: int, events: list[Event]
) -> Iterator[Finding]:
    run = study_runs.run_of(number)
    assert run is not None
    sent = study_runs.state(run)
    if sent.is_later_than(events):
        return  # another machine went on with the trial, and has the log that counts
    where = f"MLflow run of trial {number}"
    wrong = list(_describe_wrong(patient, sent, events))
    lacking = list(_describe_lacking(patient, sent, number, events))
    if wrong:
        advice = "makes the run anew from the event log"
        mend = partial(study_runs.rebuild, number)
        yield Finding(where, ", ".join([*wrong, *lacking]), advice, mend)
    elif lacking:
        mend = partial(study_runs.send, [number])
        yield Finding(where, ", ".join(lacking), "sends what is missing", mend)
    patient.n_epochs += len({e.epoch for e in events if isinstance(e, EpochMetrics)})


def _describe_wrong(patient: Snapshot, sent: RunState, events: list[Event]) -> Iterator[str]:
    """What MLflow cannot be told to correct."""
    if doubled := sent.doubled():
        yield f"{format_count(len(doubled), 'point')} more than once"
    wanted = _params(events)
    known = sent.params.items()
    if wrong := [name for name, text in known if wanted.get(name, text) != text]:
        yield f"params differ from the event log's: {', '.join(wrong)}"
    last = events[-1]
    if isinstance(last, Ended) and last.outcome.best is not None:
        best = best_values(last.outcome.best, patient.begun.spec.objective)
        if sent.shown != best:
            yield "the best that it shows is not that of the event log"


def _describe_lacking(
    patient: Snapshot, sent: RunState, number: int, events: list[Event]
) -> Iterator[str]:
    if points := sent.lacks(events):
        yield f"{format_count(len(points), 'point')} missing"
    if params := _params(events).keys() - sent.params.keys():
        yield f"{format_count(len(params), 'param')} missing"
    if "sweeper.model" not in sent.tags and _should_have_model(patient, number, events):
        yield "its model is missing"


def _params(events: list[Event]) -> dict[str, str]:
    started = [event for event in events if isinstance(event, Started)]
    return param_texts(started[-1]) if started else {}


def _should_have_model(patient: Snapshot, number: int, events: list[Event]) -> bool:
    return (
        patient.begun.spec.tracking.log_models == "completed"
        and patient.state(number) is TrialState.COMPLETE
        and any(isinstance(event, Started) and event.model for event in events)
        and patient.begun.paths.model(number).exists()
    )


def _check_state(
    patient: Snapshot, study_runs: StudyRuns, number: int, events: list[Event]
) -> Iterator[Finding]:
    run, state = study_runs.run_of(number), patient.state(number)
    assert run is not None
    assert state is not None
    status, tag = run.info.status, run.data.tags.get("sweeper.state")
    if (status, tag) == (RUN_STATUS[state], state.value):
        return
    last = events[-1] if events else None
    ended_s = last.time_s if isinstance(last, Ended) else patient.trials[number].ended_s or 0.0
    yield Finding(
        f"MLflow run of trial {number}",
        f"it is {status} ({tag}), but the trial is {state} in the storage",
        f"sets it to {RUN_STATUS[state]}",
        partial(study_runs.set_state, run, state, ended_s),
    )
