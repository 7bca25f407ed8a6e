"""Trials that train nothing: what is left is what a harness costs, here and under Ray Tune."""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from contenders import BASELINES, BASELINES_PYTHON, Contender
from results import HERE
from store import Store

#: Of a study file: a mapping as ``studies/empty_trials.yaml`` has it.
Study = Mapping[str, Any]


def load_study(name: str, *, n_trials: int | None) -> Study:
    """``studies/<name>.yaml``, with another number of trials unless that is None."""
    study: dict[str, Any] = yaml.safe_load(
        (HERE / "studies" / f"{name}.yaml").read_text(encoding="utf-8")
    )
    if n_trials is not None:
        study["budget"]["trials"] = n_trials
    return study


def sweeper_contender(study: Study) -> Contender[int]:
    """``sweeper run`` of the study, tracked in MLflow."""
    database = Path("mlruns/mlflow.db")
    return Contender(
        "sweeper",
        [sys.executable, "-m", "sweeper", "run", "study.yaml"],
        partial(read_tracked, study, database),
        files={
            "study.yaml": yaml.safe_dump(study),
            "idle.py": (HERE / "studies" / "idle.py").read_text(encoding="utf-8"),
        },
    )


def ray_contender(study: Study, *, is_tracked: bool, reuses: bool) -> Contender[int]:
    """The same trials under Ray Tune.

    Args:
        study: The study.
        is_tracked: With Ray's MLflow callback.
        reuses: A process does one trial after another, which Ray leaves off unless told so.
    """
    words = ["--trials", str(study["budget"]["trials"])]
    words += ["--seconds", str(study["train"]["seconds"])]
    if "workers" in study.get("run", {}):
        words += ["--workers", str(study["run"]["workers"])]
    if is_tracked:
        words += ["--experiment", study["name"]]
    if reuses:
        words += ["--reuse"]
    return Contender(
        "Ray Tune with reuse_actors" if reuses else "Ray Tune",
        [BASELINES_PYTHON, str(BASELINES / "ray_trials.py"), *words],
        partial(read_tracked, study, Path("mlflow.db"))
        if is_tracked
        else partial(read_ray, study),
        is_accountable=False,
    )


def read_tracked(study: Study, database: Path, folder: Path) -> int:
    """Number of the trials in MLflow that are finished and have their one point.

    Raises:
        ValueError: If that is not every trial of the study.
    """
    store = Store(folder / database, study["name"])
    runs = store.finished_trials()
    return _checked(study, sum(store.n_points(run, "score") == 1 for run in runs), len(runs))


def read_ray(study: Study, folder: Path) -> int:
    """Number of the trials whose one result is in Ray's files; raises as :func:`read_tracked`."""
    logs = list((folder / "ray_results").glob("*/*/result.json"))
    points = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
    return _checked(study, sum(len(p) == 1 and "score" in p[0] for p in points), len(points))


def _checked(study: Study, n_whole: int, n_found: int) -> int:
    expected = study["budget"]["trials"]
    if not n_whole == n_found == expected:
        raise ValueError(
            f"{n_found} trials, {n_whole} of them with one point of score, not {expected}"
        )
    return n_whole
