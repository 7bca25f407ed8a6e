"""Checks of one trial's MLflow run against the storage and the trial's event log."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.config.references import is_reference
from sweeper.config.settings import ModelConfig
from sweeper.events import Ended, Event, FileLogged, ModelLogged, Started, TagsSet
from sweeper.text import format_count
from sweeper.tracking.batch import (
    RUN_STATUS,
    best_values,
    param_texts,
    run_tags,
    tells_state,
)
from sweeper.tracking.repair import StudyRuns
from sweeper.tracking.run_state import RunState
from sweeper.trial import EpochMetrics, TrialState

#: Forms of a model of which MLflow has the weights, and may get the model itself.
_CAN_BE_MORE = ("weights", "killed")


@dataclass
class Agreement:
    """What was held against MLflow, so far.

    Attributes:
        n_runs: Of trials.
        n_epochs: In their event logs.
    """

    n_runs: int = 0
    n_epochs: int = 0


class RunCheck:
    """The check of one trial.

    Args:
        snapshot: The study.
        study_runs: Its runs.
        number: Of the trial.
    """

    def __init__(self, snapshot: Snapshot, study_runs: StudyRuns, number: int) -> None:
        self._snapshot = snapshot
        self._runs = study_runs
        self._number = number
        self._events = snapshot.log(number)

    def findings(self, agreement: Agreement) -> Iterator[Finding]:
        """Whether the trial has one run, which says what the storage and the event log say.

        Args:
            agreement: Counts what was looked at.
        """
        if len(self._runs.children.get(self._number, [])) > 1:
            yield self._doubled_run()
        if not self._runs.has_run(self._number):
            yield from self._missing_run()
            return
        if self._events:
            yield from self._check_content(agreement)
        yield from self._check_state()
        agreement.n_runs += 1

    def _doubled_run(self) -> Finding:
        runs, kept = self._runs.children[self._number], self._runs.run_of(self._number)

        def mend() -> None:
            self._runs.delete(run for run in runs if run is not kept)
            self._runs.send([self._number])

        what = f"MLflow has {len(runs)} runs of it"
        return Finding(f"trial {self._number}", what, "keeps one of them", mend)

    def _missing_run(self) -> Iterator[Finding]:
        where, what = f"trial {self._number}", "MLflow has no run of it"
        if self._events:
            yield Finding(where, what, "sends it", partial(self._runs.send, [self._number]))
        elif self._snapshot.has_ended(self._number):
            yield Finding(where, what, "run `sweeper sync` on the machine that has its event log")

    def _check_content(self, agreement: Agreement) -> Iterator[Finding]:
        sent = self._runs.state(self._runs.run_of(self._number), self._events)
        if sent.is_later_than(self._events):
            return  # another machine went on with the trial, and has the log that counts
        where = f"MLflow run of trial {self._number}"
        wrong, lacking = list(self._describe_wrong(sent)), list(self._describe_lacking(sent))
        if wrong:
            advice = "makes the run anew from the event log"
            mend = partial(self._runs.rebuild, self._number)
            yield Finding(where, ", ".join([*wrong, *lacking]), advice, mend)
        elif lacking:
            mend = partial(self._runs.send, [self._number])
            yield Finding(where, ", ".join(lacking), "sends what is missing", mend)
        epochs = {event.epoch for event in self._events if isinstance(event, EpochMetrics)}
        agreement.n_epochs += len(epochs)

    def _describe_wrong(self, sent: RunState) -> Iterator[str]:
        """What MLflow cannot be told to correct.

        In a run to which the trial's own code logs, what differs may be of that code, and a run
        made anew would not have what it logged.
        """
        if sent.is_shared:
            return
        if doubled := sent.doubled():
            yield f"{format_count(len(doubled), 'point')} more than once"
        wanted = self._params()
        known = sent.params.items()
        if wrong := [name for name, text in known if wanted.get(name, text) != text]:
            yield f"params differ from the event log's: {', '.join(wrong)}"
        last = self._events[-1]
        if isinstance(last, Ended) and last.outcome.best is not None:
            best = best_values(last.outcome.best, self._snapshot.spec.objective)
            if sent.shown != best:
                yield "the best that it shows is not that of the event log"

    def _describe_lacking(self, sent: RunState) -> Iterator[str]:
        if points := sent.lacks(self._events, self._snapshot.spec.objective):
            yield f"{format_count(len(points), 'point')} missing"
        if params := self._params().keys() - sent.params.keys():
            yield f"{format_count(len(params), 'param')} missing"
        if tags := [name for name, text in self._tags().items() if sent.tags.get(name) != text]:
            yield f"{format_count(len(tags), 'tag')} missing"
        if files := self._runs.missing_files(sent.run_id, self._files()):
            yield f"{format_count(len(files), 'file')} missing: {', '.join(files)}"
        if self._should_have_model(sent.tags.get("sweeper.model")):
            yield "its model is missing"

    def _tags(self) -> dict[str, str]:
        """That the trial's own code set, as MLflow is sent them."""
        told = [event.tags for event in self._events if isinstance(event, TagsSet)]
        return {tag.key: tag.value for tags in told for tag in run_tags(tags)}

    def _files(self) -> set[str]:
        """That the trial's own code logged, as far as they are on this machine."""
        folder = self._snapshot.paths.logged_files(self._number)
        names = {event.path for event in self._events if isinstance(event, FileLogged)}
        return {name for name in names if (folder / name).exists()}

    def _should_have_model(self, form: str | None) -> bool:
        """Whether MLflow lacks a model, or has its weights alone where its code may be called."""
        return (
            self._snapshot.spec.tracking.log_models == "completed"
            and self._snapshot.state(self._number) is TrialState.COMPLETE
            and any(self._makes_model(event, form) for event in self._events)
            and any(path.exists() for path in self._snapshot.paths.model_files(self._number))
        )

    def _makes_model(self, event: Event, form: str | None) -> bool:
        """Whether by that event there is a model, of which MLflow has less than it can have."""
        if isinstance(event, ModelLogged):
            return form is None
        return (
            isinstance(event, Started)
            and event.model is not None
            and event.data is not None
            and (form is None or (form in _CAN_BE_MORE and self._can_build(event.model)))
        )

    def _can_build(self, model: ModelConfig) -> bool:
        """Whether the mirror would call what it names."""
        name = model.architecture
        return not is_reference(name) or name in self._snapshot.found.references

    def _check_state(self) -> Iterator[Finding]:
        run, state = self._runs.run_of(self._number), self._snapshot.state(self._number)
        assert state is not None
        status, tag = run.info.status, run.data.tags.get("sweeper.state")
        if tag == state.value and tells_state(status, state):
            return
        yield Finding(
            f"MLflow run of trial {self._number}",
            f"it is {status} ({tag}), but the trial is {state} in the storage",
            f"sets it to {RUN_STATUS[state]}",
            partial(self._runs.set_state, run, state, self._ended_s()),
        )

    def _params(self) -> dict[str, str]:
        started = [event for event in self._events if isinstance(event, Started)]
        return param_texts(started[-1], self._snapshot.spec.ranges()) if started else {}

    def _ended_s(self) -> float:
        """When the trial ended; 0 if it has not."""
        last = self._events[-1] if self._events else None
        if isinstance(last, Ended):
            return last.time_s
        return self._snapshot.trials[self._number].ended_s or 0.0
