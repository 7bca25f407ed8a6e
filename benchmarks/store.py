"""What an MLflow store holds after a run, whoever wrote it."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run


class Store:
    """The trials in one experiment of a database."""

    def __init__(self, database: Path, experiment: str) -> None:
        self._client = MlflowClient(f"sqlite:///{database}")
        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            raise ValueError(f"{database.name}: there is no experiment {experiment!r}")
        self._experiment_id = found.experiment_id

    def finished_trials(self) -> list[Run]:
        """Finished runs that are not the parent of others."""
        runs = self._client.search_runs(
            [self._experiment_id], "status = 'FINISHED'", max_results=50_000
        )
        parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
        return [run for run in runs if run.info.run_id not in parents]

    def runs_with_a_model(self) -> set[str]:
        """Ids of the runs that a model was logged from, and is whole."""
        return {
            str(model.source_run_id)
            for model in self._client.search_logged_models([self._experiment_id])
            if model.status == LoggedModelStatus.READY
        }

    def n_points(self, run: Run, metric: str) -> int:
        """Length of a curve."""
        return len(self._client.get_metric_history(run.info.run_id, metric))
