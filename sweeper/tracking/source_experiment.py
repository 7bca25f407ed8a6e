"""The runs of an experiment in MLflow, whoever made them, as a source for a study."""

from collections.abc import Mapping

from mlflow.entities import Run

from sweeper.config.problems import Problems, did_you_mean
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.config.yaml_source import load_source
from sweeper.errors import SpecError
from sweeper.paths import RunPaths
from sweeper.study.source_trials import Source, SourceTrial
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import find_experiment, open_client, tracker_errors
from sweeper.tracking.parent import KIND, run_pages
from sweeper.trial import TrialState

#: The latest of an experiment; each page of a thousand is a request.
_MOST_READ = 5000
_PAGE = 1000
_STATE = {
    "FINISHED": TrialState.COMPLETE,
    "FAILED": TrialState.FAILED,
    "KILLED": TrialState.FAILED,
}


def read_source_experiment(spec: StudySpec, paths: RunPaths) -> Source:
    """Its runs that have ended by now, the latest five thousand.

    Metrics are those that MLflow's table shows, which are the last ones; of a run of sweeper's own
    what its best epoch measured. How they went from epoch to epoch is not asked for.

    Args:
        spec: The study that begins, whose ``warm_start`` names the experiment.
        paths: Of that study.

    Raises:
        SpecError: If there is no such experiment.
        TrackerError: If MLflow cannot be used.
    """
    assert spec.warm_start is not None
    name, uri = spec.warm_start.experiment, tracking_uri(spec.tracking.uri, paths)
    client = open_client(uri, paths)
    experiment_id = find_experiment(client, name)
    with tracker_errors(uri):
        if experiment_id is None:
            known = [each.name for each in client.search_experiments()]
            raise SpecError(
                f"{spec.place('warm_start.from')}: MLflow has no experiment "
                f"{name!r}{did_you_mean(name, known)}"
            )
        runs: list[Run] = []
        for page in run_pages(client, experiment_id, size=_PAGE):
            runs += page
            if len(runs) >= _MOST_READ:
                break
    trials = [_trial(run) for run in reversed(runs) if _is_trial(run)]
    return Source(f"runs of {name} in MLflow", trials)


def _is_trial(run: Run) -> bool:
    """Whether it has ended, and is not the one that stands for a whole study."""
    return run.info.status in _STATE and run.data.tags.get(KIND) != "study"


def _trial(run: Run) -> SourceTrial:
    tags, metrics = run.data.tags, run.data.metrics
    if KIND not in tags:
        return SourceTrial(_STATE[run.info.status], dict(run.data.params), metrics)
    best = {
        name.removeprefix("best_"): value
        for name, value in metrics.items()
        if name.startswith("best_")
    }
    state = TrialState(tags.get("sweeper.state", _STATE[run.info.status]))
    settings = {**_constants(tags.get("sweeper.constants", "")), **run.data.params}
    return SourceTrial(state, settings, {**metrics, **best})


def _constants(text: str) -> Mapping[str, Scalar]:
    """The tag of that name; nothing if it was too long for MLflow."""
    source = load_source(text, "sweeper.constants", Problems())
    return source.plain() if source else {}
