"""Studies of a training function of the user's own, for real workers in processes of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sweeper.config.reader import load_study
from sweeper.config.render import render_study
from sweeper.config.study import StudySpec
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.study import SweepStudy
from sweeper.workers.devices import Placement
from sweeper.workers.lane_plan import plan_lanes
from sweeper.workers.protocol import AgentArgs, WorkerArgs
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep_studies import AGENT

CODE = """
import os, signal, time
from pathlib import Path

FOLDER = Path(__file__).parent

def is_first(name):
    \"\"\"Whether this is the first call with that name, in whatever process.\"\"\"
    try:
        FOLDER.joinpath(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True

def run(params, trial):
    {body}
"""
#: Measures at once what was drawn.
MEASURE = 'trial.report(1, score=params["train"]["x"])'
#: Has an epoch every 20 ms, for ten minutes.
GO_ON = """is_first("running")
    for epoch in range(1, 30_000):
        time.sleep(0.02)
        trial.report(epoch, score=params["train"]["x"])"""
#: As :data:`MEASURE`, but the first one hangs.
HANG_FIRST = f"""if is_first("running"):
        time.sleep(600)
    {MEASURE}"""


def function_spec(
    folder: Path,
    body: str = MEASURE,
    *,
    trials: int = 1,
    x: Sequence[float] | None = None,
    **changes: Any,
) -> StudySpec:
    """The study file and the module beside it, which has the folder's name.

    Args:
        folder: Of both; no two tests may use one of the same name.
        body: Of the function, indented by four spaces from its second line on.
        trials: To reach.
        x: Values that are searched; None for all from 0 to 1.
        **changes: Replace top-level keys of the file.
    """
    module = f"own_{folder.name}".replace("-", "_")
    (folder / f"{module}.py").write_text(CODE.format(body=body))
    plain = {
        "name": "small",
        "objective": {"metric": "score", "direction": "maximize"},
        "budget": {"trials": trials},
        "seed": 7,
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "train": {
            "function": f"{module}:run",
            "x": {"choices": list(x)} if x else {"low": 0.0, "high": 1.0},
        },
        "run": {"workers": 1, "device": "cpu"},
        "tracking": {"log_models": "none"},
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**plain, **changes}, sort_keys=False))
    copy_empty_database(RunPaths(folder / "mlruns", "small").mlflow_db)
    return load_study(file)


def begin_function(folder: Path, body: str = MEASURE, **changes: Any) -> SweepStudy:
    """That study, begun by an agent that holds its lease; see :func:`function_spec`."""
    spec = function_spec(folder, body, **changes)
    study = create_study(spec, RunPaths(folder / "mlruns", spec.name))
    study.paths.resolved_spec.write_text(render_study(spec))
    study.queue.top_up()
    study.leases.renew(AGENT)
    return study


def agent_args(study: SweepStudy, **changes: Any) -> AgentArgs:
    """What that agent tells its workers."""
    said = {"import_dirs": [str(study.spec.path.parent)], "tags": {}, **changes}
    return AgentArgs.of(study, AGENT, **said)


def worker_args(study: SweepStudy, place: Placement | None = None, **changes: Any) -> WorkerArgs:
    """What a worker of that agent is told; where none is said, on one core."""
    return WorkerArgs.new(agent_args(study, **changes), place or one_place(study), name="worker")


def one_place(study: SweepStudy, device: str = "cpu") -> Placement:
    """Of the only worker of a study."""
    lanes = plan_lanes(study.spec, device, n_workers=1)
    return Placement(device, n_threads=1, n_sharing=1, lanes=lanes)
