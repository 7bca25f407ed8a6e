"""What a study has kept of a trial that ended: its settings, where it ran, what it measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from sweeper.config.settings import TrialConfig
from sweeper.events import Ended, Event, Started, read_events
from sweeper.study.attributes import state_of
from sweeper.study.study import SweepStudy
from sweeper.trial import EpochMetrics, Objective, TrialState

#: Where files lie may change, and not what they are.
_MAY_CHANGE = ("data.root",)


@dataclass(frozen=True)
class RecordedTrial:
    """A trial as storage and event log have it.

    Attributes:
        number: Within its study.
        state: How it ended.
        config: What it ran with.
        starts: Of each process that worked on it; empty where its event log is not.
        history: What it reported, by epoch.
        faults: In which its event log contradicts the storage, or itself, a clause each.
    """

    number: int
    state: TrialState
    config: TrialConfig
    starts: tuple[Started, ...]
    history: tuple[EpochMetrics, ...]
    faults: tuple[str, ...]

    def tags(self, name: str) -> list[str]:
        """The values that a tag had in its processes, each once, in their order."""
        found = (start.tags[name] for start in self.starts if name in start.tags)
        return list(dict.fromkeys(found))


def read_recorded_trial(study: SweepStudy, number: int) -> RecordedTrial:
    """Read a trial of a study, of which nothing is written.

    Args:
        study: The study.
        number: Of a trial that has ended.

    Raises:
        StudyError: If its settings are none that the study file has.
        EventLogError: If its event log is damaged.
    """
    trial = study.storage.get_trial(study.trial_id(number))
    config = study.drawn_config(trial)
    events, _ = read_events(study.paths.events(number))
    by_epoch: dict[int, EpochMetrics] = {}
    for event in events:
        if isinstance(event, EpochMetrics):
            by_epoch.setdefault(event.epoch, event)  # the first counts, as where it was reported
    history = tuple(by_epoch[epoch] for epoch in sorted(by_epoch))
    starts = tuple(event for event in events if isinstance(event, Started))
    faults = [fault for start in starts for fault in _faults_of_start(start, config)]
    if events:
        faults += _faults_of_end(trial, study.spec.objective, history, events[-1])
    return RecordedTrial(
        number,
        state_of(trial),
        config,
        starts,
        history,
        tuple(dict.fromkeys(faults)),
    )


def _faults_of_end(
    trial: FrozenTrial, objective: Objective, history: Sequence[EpochMetrics], last: Event
) -> Iterator[str]:
    whole = [epoch for epoch in history if set(objective.metrics) <= epoch.values.keys()]
    best = objective.best([epoch for epoch in whole if not objective.faults(epoch)])
    if isinstance(last, Ended) and last.outcome.best != best:
        yield "the epoch that counts by the end of its event log is not the best one in there"
    for metric, value in zip(objective.metrics, trial.values or [], strict=False):
        measured = None if best is None else best.values[metric]
        if value != measured:
            there = "absent from" if measured is None else f"{measured:.6g} in"
            yield f"{metric} is {value:.6g} in the storage and {there} its event log"


def _faults_of_start(start: Started, config: TrialConfig) -> Iterator[str]:
    for name, value in config.params.items():
        if name in start.params and name not in _MAY_CHANGE and start.params[name] != value:
            yield f"{name} is {start.params[name]} in its event log and {value} in the storage"
    seed = start.tags.get("seed", str(config.seed))
    if seed != str(config.seed):
        yield f"its seed is {seed} in its event log and {config.seed} by the study file"
