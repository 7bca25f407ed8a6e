"""The best trials of a study in lines for people."""

from dataclasses import asdict, replace

from sweeper.config.grid import count_settings
from sweeper.config.render import render_setting
from sweeper.study.best import Best, BestPruned
from sweeper.study.result import Result
from sweeper.text import format_values


def format_best(best: Best) -> list[str]:
    """The values of a best trial on one line, then a line for each of its parameters."""
    return [f"trial {best.number}: {format_values(best.values)}", *_params(best)]


def format_best_pruned(result: Result) -> list[str]:
    """A pruned trial that was better than the best one, and how to finish it; mostly no line."""
    pruned = result.best_pruned
    if pruned is None:
        return []
    spec, n_trials = result.spec, max(result.goal, result.n_finished) + 1
    is_grid = spec.sampler.name == "grid"  # which takes no setting beside its points
    sampler = replace(spec.sampler, name="random") if is_grid else spec.sampler
    if count_settings(spec, n_trials) < n_trials:  # which would end the study before
        sampler = replace(sampler, duplicates="reseed")
    changes = [f"budget.trials: {n_trials}", "pruner: {name: none}"]
    if sampler != spec.sampler:
        changes.append(f"sampler: {render_setting(asdict(sampler))}")
    # A grid's trial began with its setting, so it stands for the first of two.
    added = [f"  - {render_setting(pruned.params)}"] * (2 if is_grid else 1)
    # Before, the trials that are still to come would not be pruned either.
    when = "" if result.n_finished >= result.goal else " once the goal is reached"
    return [
        f"trial {pruned.number}: {format_values(pruned.values)}, better than any complete one; "
        f"it was pruned after epoch {pruned.epoch}, so it has no model",
        *_params(pruned),
        f"to train it to its end{when}: set {', '.join(changes)}, add this to enqueue, and run "
        "the study again",
        *added,
    ]


def _params(best: Best | BestPruned) -> list[str]:
    shown = (
        (name, f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in best.params.items()
    )
    return [f"  {name:<34} {value}" for name, value in shown]
