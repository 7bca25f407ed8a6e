"""What a study has come to, read from its storage: for people, scripts and notebooks."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.study import StudySpec
from sweeper.errors import ExitCode
from sweeper.paths import RunPaths
from sweeper.study.agents import AgentAtWork
from sweeper.study.attributes import Attr, Learned, read_attribute
from sweeper.study.best import Best, BestPruned, best_complete, best_pruned
from sweeper.study.code_versions import code_versions
from sweeper.study.failures import Failure, list_causes
from sweeper.study.figures import Figures
from sweeper.study.lane_counts import BestLanes, best_lanes
from sweeper.study.pruners import PrunerUse
from sweeper.study.samplers.model_view import ModelView
from sweeper.study.study import SweepStudy
from sweeper.study.time_left import N_TELLING, TrialLengths, trials_per_hour
from sweeper.study.trial_cache import FINISHED
from sweeper.study.trial_rows import TOLD, best_rows, row_keys, searched_params, trial_row
from sweeper.text import format_count, format_values, html_table
from sweeper.timing import add_seconds, harness_share
from sweeper.trial import TrialState

if TYPE_CHECKING:
    import pandas as pd


#: Trials that a notebook shows.
_SHOWN = 10


class Result:
    """A study as it stands in its storage at the moment of asking.

    Attributes:
        exit_code: Of the command that made it; None when it was only looked at.
    """

    def __init__(
        self,
        study: SweepStudy,
        exit_code: ExitCode | None = None,
        load_model: Callable[[SweepStudy, int], Any] | None = None,
    ) -> None:
        self._study = study
        self.exit_code = exit_code
        self._load_model = partial(load_model, study) if load_model else None

    def loading(self, load_model: Callable[[SweepStudy, int], Any]) -> "Result":
        """The same result, whose best trials can load their models.

        Args:
            load_model: Of a trial of a study, by its number.
        """
        return Result(self._study, self.exit_code, load_model)

    def __repr__(self) -> str:
        return f"<sweeper.Result {self._describe()}>"

    def _repr_html_(self) -> str:
        rows = self.top(_SHOWN)
        shown = [name for name in self.columns() if name not in TOLD or name == "epochs"]
        cells = [[_cell(row.get(name)) for name in shown] for row in rows]
        return html_table(self._describe(), shown, cells)

    def _describe(self) -> str:
        """``digits: 20 of 20 trials, best val_accuracy 0.9722 (trial 7)``."""
        progress = f"{self.name}: {self.n_finished} of {format_count(self.goal, 'trial')}"
        found = [f"{format_values(best.values)} (trial {best.number})" for best in self.front]
        return f"{progress}, best {'; '.join(found)}" if found else progress

    @property
    def study(self) -> optuna.Study:
        """The same in Optuna's words; to look at, as its trials are run by sweeper."""
        return self._study.handle()

    @property
    def plot(self) -> Figures:
        """Figures of the complete trials, as ``result.plot.history()``."""
        return Figures(self.study, self.spec.objective)

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self._study.spec

    @property
    def name(self) -> str:
        """Of the study, as in Optuna and MLflow."""
        return self.spec.name

    @property
    def paths(self) -> RunPaths:
        """Files of the study on this machine."""
        return self._study.paths

    @property
    def agents(self) -> list[AgentAtWork]:
        """Those at work, wherever they are."""
        return self._study.agents()

    @property
    def trials_per_hour(self) -> float | None:
        """Pace of the latest trials that finished since the eldest agent began.

        None if no agent is at work, and before the second of them.
        """
        agents = self.agents
        if not agents:
            return None
        begun = datetime.fromtimestamp(agents[0].info.begun_s)
        return trials_per_hour(self._study.trials(FINISHED), begun)

    @property
    def goal(self) -> int:
        """Finished trials (complete and pruned) that the study should reach."""
        return self._study.goal

    @property
    def n_finished(self) -> int:
        """Finished trials so far."""
        return self._study.n_finished()

    @property
    def counts(self) -> Counter[TrialState]:
        """How many trials stand how."""
        return self._study.counts()

    @property
    def sampler(self) -> tuple[str, str]:
        """The sampler in use and why."""
        return self._study.sampler.explain()

    @property
    def warm_start(self) -> str:
        """What the sampler began with of an earlier study, in one line; empty if with nothing."""
        warm = self._study.sampler.warm_start
        return warm.explain(self.sampler[0]) if warm else ""

    @property
    def drawn_by(self) -> Counter[str]:
        """What drew how many trials, in the order in which each drew its first."""
        drawn = (trial.user_attrs.get(Attr.DRAWN_BY) for trial in self._study.trials())
        return Counter(name for name in drawn if name)

    @cached_property
    def model(self) -> ModelView | None:
        """What the sampler's model has learnt; None if it has none, or not yet.

        With several metrics, and where nothing is searched, there is none.
        """
        return self._study.explain_model()

    @property
    def code_versions(self) -> dict[str, int]:
        """Digest of each version of the study's own code -> number of the first trial with it."""
        return code_versions(self._study.attributes)

    @property
    def lanes(self) -> dict[str, BestLanes]:
        """Name of a device -> trials that a worker trains there at once, if that was measured."""
        return best_lanes(self._study.attributes)

    @property
    def pruner(self) -> PrunerUse:
        """The pruner, how early it ends trials, and why."""
        return self._study.pruner.explain()

    @property
    def learned(self) -> Learned | None:
        """What is learned, and must be beaten; None before a trial begins, and of own training."""
        kept = self._study.attributes.read().get(Attr.TASK)
        return None if kept is None else read_attribute(Learned, kept, "the task")

    @property
    def best(self) -> Best | None:
        """The best complete trial; None before the first, or with several metrics."""
        objective = self.spec.objective
        if len(objective.metrics) > 1:
            return None
        trials = self._study.trials((OptunaState.COMPLETE,))
        found = best_complete(trials, objective)
        return self._as_best(found) if found else None

    @property
    def best_pruned(self) -> BestPruned | None:
        """The best pruned trial if it is better than every complete one; it has no model.

        Should its setting have been trained to its end since, it is not meant.
        """
        objective = self.spec.objective
        if len(objective.metrics) > 1:
            return None
        trials = self._study.trials(FINISHED)
        found = best_pruned(trials, objective)
        if found is None:
            return None
        best = self._as_best(found)
        return BestPruned(best.number, best.values, best.params, found.last_step or 0)

    @property
    def front(self) -> list[Best]:
        """The Pareto front; with one metric, the best trial alone."""
        if len(self.spec.objective.metrics) == 1:
            return [best] if (best := self.best) else []
        return [self._as_best(trial) for trial in self._study.handle().best_trials]

    @property
    def failures(self) -> list[Failure]:
        """Causes of failed trials, the most frequent first."""
        return list_causes(self._study.trials((OptunaState.FAIL,)), self.paths)

    @property
    def seconds(self) -> dict[str, float]:
        """Where the time of the ended trials went, see :class:`~sweeper.trial.Outcome`."""
        ended = self._study.trials((*FINISHED, OptunaState.FAIL))
        return add_seconds(*(trial.user_attrs.get(Attr.SECONDS, {}) for trial in ended))

    def trials(self) -> "pd.DataFrame":
        """One row a trial: number, state, metrics, epochs, seconds, what drew it, params."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """What :meth:`trials` has, without pandas; params of other branches are left out."""
        return [trial_row(self._study, trial) for trial in self._study.trials()]

    def columns(self) -> list[str]:
        """Keys that the rows may have, in their order."""
        return row_keys(self.spec)

    def top(self, n_trials: int) -> list[dict[str, Any]]:
        """The best rows, by the first metric: of complete trials, and of pruned ones."""
        return best_rows(self._study, n_trials)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the goal, of all workers; None before a trial has ended, or without any.

        See :class:`~sweeper.study.time_left.TrialLengths`.
        """
        n_workers = sum(len(agent.info.devices) for agent in self.agents)
        if not n_workers:
            return None
        standing, cache = self._study.cache.look(), self._study.cache
        lengths = TrialLengths(
            cache.latest(N_TELLING), self._study.pruner.n_epochs(), {}, datetime.now()
        )
        return lengths.seconds_left(standing, goal=self.goal, n_workers=n_workers)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        sampler, why = self.sampler
        pruned, learned, seconds = self.best_pruned, self.learned, self.seconds
        return {
            "study": self.name,
            "goal": self.goal,
            "finished": self.n_finished,
            "trials": {state.value: n for state, n in sorted(self.counts.items())},
            "agents": [agent.to_json() for agent in self.agents],
            "trials_per_hour": self.trials_per_hour,
            "seconds_left": self.seconds_left,
            "sampler": {"name": sampler, "why": why},
            "warm_start": self.warm_start,
            "drawn_by": dict(self.drawn_by),
            "model": self.model and asdict(self.model),
            "code_versions": self.code_versions,
            "pruner": self.pruner.to_json(),
            "lanes": {device: best.to_json() for device, best in self.lanes.items()},
            "task": learned and learned.task,
            "naive": learned and learned.naive,
            "best": [best.to_json() for best in self.front],
            "best_pruned": pruned and pruned.to_json(),
            "seconds": seconds,
            "harness_share": harness_share(seconds),
            "failures": [failure.to_json() for failure in self.failures],
        }

    def _as_best(self, trial: FrozenTrial) -> Best:
        metrics = self.spec.objective.metrics
        values = dict(zip(metrics, trial.values or [], strict=True))
        return Best(trial.number, values, searched_params(self.spec, trial), self._load_model)


def at_goal(study: SweepStudy) -> Result:
    """The result of a command on a study that has reached its goal.

    If all trials diverged, or were pruned, there is nothing that could be used: no success.
    """
    has_model = bool(Result(study).front)
    return Result(study, ExitCode.GOAL_REACHED if has_model else ExitCode.FAILURE)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
