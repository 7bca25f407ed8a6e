"""The saved view of a study, read as MLflow's page reads it."""

import json
import zlib
from base64 import b64decode
from typing import Any

from mlflow.entities import Experiment

from sweeper.config.study import StudySpec
from sweeper.tracking.view import save_view, view_link
from tests.support.spec_files import study
from tests.support.tracked_study import Store

SPACE = """
name: digits
objective: {metric: [val_loss, val_accuracy], direction: [minimize, maximize]}
data: {name: digits}
model:
  architecture:
    choices:
      mlp: {width: {low: 1, high: 9}}
      resnet18: {}
train: {learning_rate: {low: 0.1, high: 1.0}}
"""


def saved(store: Store, spec: StudySpec) -> Experiment:
    if store.client.get_experiment_by_name("digits") is None:
        store.client.create_experiment("digits")
    save_view(store.client, find(store), spec)
    return find(store)


def find(store: Store) -> Experiment:
    experiment = store.client.get_experiment_by_name("digits")
    assert experiment is not None
    return experiment


def state(experiment: Experiment) -> dict[str, Any]:
    [key] = [tag for tag in experiment.tags if tag.startswith("mlflow.sharedViewState.")]
    assert view_link("7").startswith("/#/experiments/7/runs?")
    assert f"viewStateShareKey={key.rpartition('.')[2]}" in view_link("7")
    form, _, content = json.loads(experiment.tags[key])["state"].partition(";")
    assert form == "deflate"
    found: dict[str, Any] = json.loads(zlib.decompress(b64decode(content)))
    return found


def test_columns_are_the_objective_the_state_and_what_was_searched(store: Store) -> None:
    view = state(saved(store, study(SPACE)))
    assert view["columnOrder"] == view["selectedColumns"] == [
        "metrics.`best_val_loss`",
        "metrics.`best_val_accuracy`",
        "tags.`sweeper.state`",
        "params.`model.architecture`",
        "params.`train.learning_rate`",
        "params.`model.architecture.mlp.width`",
        "metrics.`best_epoch`",
        "attributes.`Models`",
    ]  # fmt: skip
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best_val_loss`", True)
    assert view["searchFilter"] == "tags.`sweeper.kind` = 'trial'"


def test_charts_begin_with_what_was_searched_and_end_with_best_epoch(store: Store) -> None:
    charts = state(saved(store, study(SPACE)))["compareRunCharts"]
    parallel = [chart for chart in charts if chart["type"] == "PARALLEL"]
    common = ["model.architecture", "train.learning_rate"]
    assert [chart["selectedParams"] for chart in parallel] == [
        common,
        [*common, "model.architecture.mlp.width"],
    ]
    assert charts[: len(parallel)] == parallel
    curves = [chart["metricKey"] for chart in charts[len(parallel) :]]
    assert curves[:2] == ["val_loss", "val_accuracy"]
    assert curves[-3:] == ["best_val_loss", "best_val_accuracy", "best_epoch"]


def test_a_view_that_is_there_is_not_written_again(store: Store) -> None:
    first = saved(store, study(SPACE))
    [key] = [tag for tag in first.tags if tag.startswith("mlflow.sharedViewState.")]
    store.client.delete_experiment_tag(first.experiment_id, key)
    save_view(store.client, first, study(SPACE))  # as it was read before
    assert key not in find(store).tags
    save_view(store.client, first, study(SPACE.replace("width", "depth")))
    assert find(store).tags[key] != first.tags[key]


def test_a_space_of_any_size_has_a_view_that_mlflow_takes(store: Store) -> None:
    names = [f"{index:04d}" + "abcdefghij" * 20 for index in range(400)]
    ranges = ", ".join(f"p{name}: {{low: 0.0, high: 1.0}}" for name in names)
    model = f"model: {{architecture: own:build, {ranges}}}"
    view = state(saved(store, study(f"data: {{name: own:load}}\n{model}\ntrain: {{epochs: 1}}")))
    assert sum(column.startswith("params.") for column in view["columnOrder"]) == 50


def test_a_study_that_searches_nothing_has_curves_alone(store: Store) -> None:
    plain = "data: {name: digits}\nmodel: {architecture: mlp}\ntrain: {epochs: 1}"
    charts = state(saved(store, study(plain)))["compareRunCharts"]
    assert {chart["type"] for chart in charts} == {"LINE"}
