"""A study drawn by Optuna, for notebooks."""

import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import StudyError
from sweeper.text import format_count
from sweeper.trial import Objective

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Figures:
    """Plotly's figures of the complete trials of a study.

    Of several metrics each figure shows one, by default the first.
    """

    def __init__(self, study: optuna.Study, objective: Objective) -> None:
        self._study = study
        self._objective = objective

    def history(self, metric: str | None = None) -> "Figure":
        """A metric by the number of the trial; of a single one, the best so far too."""
        from optuna.visualization import plot_optimization_history

        return plot_optimization_history(self._study, **self._shown(metric))

    def importance(self, metric: str | None = None) -> "Figure":
        """How much each parameter that all complete trials have decides of a metric.

        By PED-ANOVA.

        Raises:
            StudyError: If there are fewer than two complete trials.
        """
        from optuna.importance import PedAnovaImportanceEvaluator
        from optuna.visualization import plot_param_importances

        with warnings.catch_warnings():  # that it takes a low value for a good one, as it is here
            warnings.simplefilter("ignore", UserWarning)
            return plot_param_importances(
                self._study,
                evaluator=PedAnovaImportanceEvaluator(),
                params=self._common_params(n_trials=2),
                **self._shown(metric, is_low_good=True),
            )

    def parallel(self, metric: str | None = None) -> "Figure":
        """A line for each trial through the parameters that all complete trials have.

        Raises:
            StudyError: If no trial is complete.
        """
        from optuna.visualization import plot_parallel_coordinate

        params = self._common_params(n_trials=1)
        return plot_parallel_coordinate(self._study, params=params, **self._shown(metric))

    def _shown(self, wanted: str | None, *, is_low_good: bool = False) -> dict[str, Any]:
        """What Optuna is told of the metric; of a single one it knows all but the name."""
        metrics = self._objective.metrics
        if wanted is not None and wanted not in metrics:
            raise StudyError(f"{wanted!r} is no metric of the objective: {', '.join(metrics)}")
        index = metrics.index(wanted) if wanted else 0
        if len(metrics) == 1:
            return {"target_name": metrics[0]}
        sign = self._objective.signs[index] if is_low_good else 1
        return {
            "target": lambda trial: sign * trial.values[index],
            "target_name": metrics[index],
        }

    def _common_params(self, *, n_trials: int) -> list[str]:
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(trials) < n_trials:
            wanted = format_count(n_trials, "complete trial")
            raise StudyError(f"this figure needs {wanted}, and there are {len(trials)}")
        names = [name for name in trials[0].params if _is_common(name, trials)]
        if not names:
            raise StudyError(
                "nothing is searched that all trials have, so there is no such figure"
            )
        return names


def _is_common(name: str, trials: list[FrozenTrial]) -> bool:
    return all(name in trial.params for trial in trials)
