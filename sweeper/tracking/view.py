"""The view in which MLflow's page shows a study: a saved view of its experiment.

MLflow's page keeps a saved view as a tag of the experiment, with the columns, their order, the
sorting and the charts in it. Its first view shows neither a metric nor a param.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from zlib import compress

from mlflow import MlflowClient
from mlflow.entities import Experiment

from sweeper.config.metrics import METRICS, TASK_METRICS, metrics_but_of
from sweeper.config.ranges import walk_branches
from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.tracking.parent import KIND

_KEY = "sweeper"
_TAG = f"mlflow.sharedViewState.{_KEY}"
_NAME = "Trials, best first"
#: Else the page takes a run for one of a language model.
_TRAINING = {"workflowType": "machine_learning"}
#: More columns and axes show nothing; MLflow takes 20,000 signs of a tag.
_MOST_NAMES = 50
#: Of a column, in pixels: per sign of its name, and the bounds.
_SIGN_PX, _LEAST_PX, _MOST_PX = 7, 80, 240


def view_link(experiment_id: str, *, charts: bool = False) -> str:
    """Where the view is on MLflow's page, from the page's root on.

    Args:
        experiment_id: With the view as a tag.
        charts: Curves and parallel coordinates instead of the table.
    """
    mode = {"compareRunsMode": "CHART"} if charts else {}
    query = urlencode({**_TRAINING, "viewStateShareKey": _KEY, **mode})
    return f"/#/experiments/{experiment_id}/runs?{query}"


def run_link(experiment_id: str, run_id: str) -> str:
    """Where a run is on MLflow's page, from the page's root on."""
    return f"/#/experiments/{experiment_id}/runs/{run_id}?{urlencode(_TRAINING)}"


def save_view(client: MlflowClient, experiment: Experiment, spec: StudySpec) -> None:
    """Let the experiment have the view of the study; nothing is written if it has it."""
    text = _render_view(spec, experiment.creation_time or 0)
    if experiment.tags.get(_TAG) != text:
        with durable(Step.MIRROR_SEND):
            client.set_experiment_tag(experiment.experiment_id, _TAG, text)


def _render_view(spec: StudySpec, created_ms: int) -> str:
    state = b64encode(compress(json.dumps(_state(spec)).encode())).decode()
    view = {
        "name": _NAME,
        "createdAt": created_ms,
        "updatedAt": created_ms,
        "state": f"deflate;{state}",
    }
    return json.dumps(view)


def _state(spec: StudySpec) -> dict[str, Any]:
    """What the page remembers of a view, in its own words."""
    best = [f"best_{name}" for name in spec.objective.metrics]
    branches = list(walk_branches(spec.sections))
    searched = [*branches[0][1], *spec.ranges()]  # first what every trial has
    columns = {
        **{f"metrics.`{name}`": name for name in best},
        "tags.`sweeper.state`": "sweeper.state",
        **{f"params.`{name}`": name for name in searched[:_MOST_NAMES]},
        "metrics.`best_epoch`": "best_epoch",
        "attributes.`Models`": "Models" * 4,
    }
    return {
        "searchFilter": f"tags.`{KIND}` = 'trial'",
        "orderByKey": f"metrics.`{best[0]}`",
        "orderByAsc": spec.objective.directions[0] == "minimize",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": {column: _width_px(name) for column, name in columns.items()},
        "isAccordionReordered": True,
        **_charts(spec, branches, best),
    }


def _width_px(name: str) -> int:
    return min(max(_LEAST_PX, _SIGN_PX * len(name) + 20), _MOST_PX)


def _charts(
    spec: StudySpec, branches: Iterable[tuple[str, list[str]]], best: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Parallel coordinates of what is searched, then the curves, the objective's first.

    In parallel coordinates the page draws those trials alone that have a value on each axis, so
    each branch has a chart of its own. It adds what metrics it finds beside these at the end.
    """
    sections, charts = [], []
    for branch, names in branches:
        section = _section(branch or "What was searched", columns=1)
        axes = {"selectedParams": names[:_MOST_NAMES], "selectedMetrics": list(best)}
        if names:
            sections.append(section)
            charts.append(_chart("PARALLEL", section["uuid"], section, **axes, showAllRuns=True))
    curves = _section("Model metrics", columns=3)
    own = () if "function" in spec.sections["train"] else _measured(spec)
    for name in dict.fromkeys([*spec.objective.metrics, *own, *best, "best_epoch"]):
        charts.append(_chart("LINE", name, curves, metricKey=name, displayName=name))
    sections += [curves, {**_section("System metrics", columns=3), "display": False}]
    return {"compareRunSections": sections, "compareRunCharts": charts}


def _measured(spec: StudySpec) -> Sequence[str]:
    """What epochs report, of the tasks that the objective may be of."""
    wanted = set(spec.objective.metrics)
    others = metrics_but_of([t for t, names in TASK_METRICS.items() if wanted.intersection(names)])
    return [name for name in METRICS if name not in others]


def _section(name: str, *, columns: int) -> dict[str, Any]:
    return {
        "uuid": name, "name": name, "columns": columns, "display": True, "isReordered": True
    }  # fmt: skip


def _chart(kind: str, name: str, section: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    shared = {"runsCountToCompare": 10, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    uuid = f"{kind} {name}"
    return {"type": kind, "uuid": uuid, "metricSectionId": section["uuid"], **shared, **more}
