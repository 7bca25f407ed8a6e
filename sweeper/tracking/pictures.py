"""The pictures of a study that its run in MLflow holds: its history, and what was searched."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.config.ranges import Choices, Range
from sweeper.config.study import StudySpec
from sweeper.trial import TrialState

if TYPE_CHECKING:
    import pandas as pd

#: How a state is drawn; trials that failed have no value.
_COLOURS: Mapping[TrialState, str] = {
    TrialState.COMPLETE: "tab:green",
    TrialState.PRUNED: "tab:orange",
    TrialState.DIVERGED: "tab:red",
}
#: Panels of a picture; more are too many to look at.
_MOST, _COLUMNS = 24, 4


def draw_pictures(spec: StudySpec, trials: "pd.DataFrame") -> dict[str, Figure]:
    """By file name; of a study without a value there is none.

    Args:
        spec: The study file.
        trials: As :meth:`sweeper.study.result.Result.trials` gives them.
    """
    metric = spec.objective.metrics[0]
    if trials.empty or trials[metric].notna().sum() == 0:
        return {}
    pictures = {"history.png": _draw_history(spec, trials)}
    if spec.ranges():
        pictures["searched.png"] = _draw_searched(spec, trials)
    return pictures


def _draw_history(spec: StudySpec, trials: "pd.DataFrame") -> Figure:
    """Each metric of the objective by trial; of one metric alone, the best so far too."""
    metrics, directions = spec.objective.metrics, spec.objective.directions
    figure = Figure(figsize=(9, 3.2 * len(metrics)), layout="constrained")
    for row, metric in enumerate(metrics):
        axes = figure.add_subplot(len(metrics), 1, row + 1)
        _scatter(axes, trials, "number", metric)
        if len(metrics) == 1:
            complete = trials[trials["state"] == TrialState.COMPLETE]
            values = complete[metric]
            best = values.cummax() if directions[0] == "maximize" else values.cummin()
            axes.step(complete["number"], best, where="post", color="grey", label="best complete")
        axes.set(xlabel="trial", ylabel=metric)
        axes.legend(loc="best", fontsize="small")
    return figure


def _draw_searched(spec: StudySpec, trials: "pd.DataFrame") -> Figure:
    """The first metric over each range, as far as there is room."""
    metric = spec.objective.metrics[0]
    ranges = {name: values for name, values in spec.ranges().items() if name in trials}
    n_panels = min(len(ranges), _MOST)
    n_columns = min(n_panels, _COLUMNS)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(3.2 * n_columns, 2.8 * n_rows), layout="constrained")
    for index, (name, values) in enumerate(list(ranges.items())[:_MOST]):
        axes = figure.add_subplot(n_rows, n_columns, index + 1)
        _draw_range(axes, trials.dropna(subset=[name]), name, values, metric)
        axes.set_xlabel(name, fontsize="small")
        if index % n_columns == 0:
            axes.set_ylabel(metric)
    return figure


def _draw_range(axes: Axes, trials: "pd.DataFrame", name: str, values: Range, metric: str) -> None:
    if isinstance(values, Choices):
        words = [str(option) for option in values.options]
        trials = trials.assign(**{name: [values.options.index(value) for value in trials[name]]})
        axes.set_xticks(range(len(words)), words, fontsize="small")
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif values.log:
        axes.set_xscale("log")
    _scatter(axes, trials, name, metric)


def _scatter(axes: Axes, trials: "pd.DataFrame", x: str, y: str) -> None:
    for state, colour in _COLOURS.items():
        found = trials[(trials["state"] == state) & trials[y].map(math.isfinite)]
        if not found.empty:
            axes.scatter(found[x], found[y], s=14, color=colour, alpha=0.8, label=state)
