"""A study in a few words, and as a table for notebooks."""

from sweeper.config.grid import count_goal
from sweeper.config.render import render_range
from sweeper.config.study import StudySpec
from sweeper.text import format_count, html_table
from sweeper.trial import Objective


def describe(spec: StudySpec) -> str:
    """``digits: 20 trials, maximize val_accuracy, 3 ranges``."""
    n_trials = format_count(count_goal(spec), "trial")
    n_ranges = format_count(len(spec.ranges()), "range")
    return f"{spec.name}: {n_trials}, {describe_objective(spec.objective)}, {n_ranges}"


def describe_objective(objective: Objective) -> str:
    """``maximize val_accuracy``, for each metric."""
    pairs = zip(objective.directions, objective.metrics, strict=True)
    return ", ".join(f"{direction} {metric}" for direction, metric in pairs)


def describe_as_html(spec: StudySpec) -> str:
    """The same above a table of what is searched."""
    rows = [[name, render_range(values)] for name, values in spec.ranges().items()]
    return html_table(describe(spec), ["searched", "values"], rows)
