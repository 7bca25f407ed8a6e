from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeper.config.render import render_study
from sweeper.events import Started, read_events
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.tracking.background_sync import BackgroundSync
from sweeper.trial import TrialState
from sweeper.workers.devices import Placement
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.process import WorkerProcess
from tests.support.function_studies import MEASURE, begin_function, function_spec, worker_args
from tests.support.sweep import wait_until
from tests.support.sweep_studies import begin

pytestmark = pytest.mark.gate  # its server imports torch


#: Says how many epochs it will report, and measures the same after each.
PLAN = """trial.plan_epochs(30)
    for epoch in range(1, 31):
        trial.report(epoch, score=params["train"]["x"])"""


#: Lets asking be free of charge only.
DEAR = """from sweeper.study import sampler_in_use
    sampler_in_use._MOST_ASKING = sampler_in_use._MOST_ASKING_S = 0.0
    trial.report(1, score=params["train"]["x"])"""


#: Has a metric that is undefined in the first epoch.
ODD = """for epoch in (1, 2):
        auroc = float("nan") if epoch == 1 else 0.7
        trial.report(epoch, score=epoch, auroc=auroc)"""

#: How user code asks for a debugger.
DEBUGGERS = {"breakpoint": "breakpoint()", "pdb": "import pdb; pdb.set_trace(); x = 1"}


#: Leaves its process otherwise than it found it, and scores by what it found. What the module
#: switches on import holds for all trials.
LEAVE_TRACES = """import os, torch
    is_strict = torch.are_deterministic_algorithms_enabled()
    found = [os.getcwd() != "/", "MINE" not in os.environ, is_strict]
    os.chdir("/")
    os.environ["MINE"] = "on"
    torch.use_deterministic_algorithms(False)
    trial.report(1, score=sum(found))

import torch
torch.use_deterministic_algorithms(True)"""


#: Tells which GPUs it was given, itself and a process that it starts; there need be none.
TELL_GPUS = """import os, subprocess
    program = ["printenv", "CUDA_VISIBLE_DEVICES"]
    told = subprocess.run(program, capture_output=True, text=True).stdout.strip()
    print(trial.device, os.environ["CUDA_VISIBLE_DEVICES"], told, flush=True)
    trial.report(1, score=0)"""


#: Logs by batch to the run that MLflow has active, and leaves it open.
LOG_TO_MLFLOW = """import os, mlflow
    print("retries", os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"), flush=True)
    for step in range(3):
        mlflow.log_metric("by_batch", trial.number, step=100 + step)
    trial.report(1, score=trial.number)"""


def work(
    study: SweepStudy,
    folder: Path,
    server: ForkServer,
    place: Placement | None = None,
    **changes: Any,
) -> WorkerProcess:
    """A real worker of the study, at its end."""
    study.leases.renew("agent")
    study.paths.resolved_spec.write_text(render_study(study.spec))
    args = worker_args(study, place, import_dirs=[str(folder)], data_label="digits", **changes)
    worker = WorkerProcess(args, folder / "worker.log", server)
    wait_until(lambda: not worker.is_alive)
    return worker


def test_a_worker_names_the_users_file_and_the_line_there(
    tmp_path: Path, server: ForkServer
) -> None:
    enqueue = [{"train.optimizer": "sgd"}]
    forbid = [{**enqueue[0], "train.nesterov": value} for value in (True, False)]
    either = {"choices": [True, False]}
    train = {"epochs": 1, "optimizer": {"choices": ["sgd", "adam"]}, "nesterov": either}
    study = begin(tmp_path, train=train, forbid=forbid, enqueue=enqueue)
    file = study.spec.path
    line = study.spec.origin("forbid").line
    assert render_study(study.spec).splitlines()[line - 1] != "forbid:"
    worker = work(study, tmp_path, server)
    assert worker.end == "", worker.last_lines()
    [failure] = Result(study).failures
    assert failure.cause == (
        f"StudyError: {file}:{line}: forbid: leaves nothing to draw beside "
        "train.optimizer=sgd: thousands of uniform draws were all forbidden; loosen it"
    )


def test_the_pruner_is_told_how_many_epochs_a_function_has(
    tmp_path: Path, server: ForkServer
) -> None:
    enqueue = [{"train.x": 0.9}, {"train.x": 0.1}]
    study = begin_function(tmp_path, PLAN, trials=2, pruner={"name": "asha"}, enqueue=enqueue)
    worker = work(study, tmp_path, server)
    assert worker.end == "", worker.last_lines()
    assert [trial.last_step for trial in study.trials()] == [30, 2]
    assert Result(study).pruner.why.endswith("; trial 0 planned 30")


def test_the_agent_hears_at_once_that_a_sampler_has_become_too_dear(
    tmp_path: Path, server: ForkServer
) -> None:
    study = begin_function(tmp_path, DEAR, trials=7, sampler={"name": "auto"})
    worker = work(study, tmp_path, server)
    [note] = worker.take_notes()
    assert worker.end == "", worker.last_lines()
    assert note.startswith("sampler tpe: asking conditional_gp took ")
    assert Result(study).sampler[0] == "tpe"
    assert Result(study).drawn_by == {"sobol": 5, "tpe": 2}


def test_a_metric_beside_the_objective_that_is_not_finite_is_told_once(
    tmp_path: Path, server: ForkServer
) -> None:
    study = begin_function(tmp_path, ODD, trials=2)
    worker = work(study, tmp_path, server)
    [note] = worker.take_notes()
    assert worker.end == "", worker.last_lines()
    assert note.startswith("trial 0: auroc was not finite; as it is not the objective, the trial")
    assert Result(study).counts == {TrialState.COMPLETE: 2}


@pytest.mark.parametrize("body", DEBUGGERS.values(), ids=DEBUGGERS)
def test_who_asks_for_a_debugger_is_told_how_to_get_one(
    tmp_path: Path, server: ForkServer, body: str
) -> None:
    study = begin_function(tmp_path, body + "\n    " + MEASURE)
    study.spec = replace(study.spec, overrides=("run.workers=1",))
    worker = work(study, tmp_path, server)
    assert worker.end == "", worker.last_lines()
    causes = {failure.cause for failure in Result(study).failures}
    assert len(causes) == 1
    assert causes.pop().endswith(
        f": a trial in a worker has no terminal to debug in; `sweeper run --debug "
        f"{study.spec.path} run.workers=1` runs one in yours"
    )


def test_every_trial_of_a_worker_finds_the_process_as_the_users_module_left_it(
    tmp_path: Path, server: ForkServer
) -> None:
    study = begin_function(tmp_path, LEAVE_TRACES, trials=3)
    worker = work(study, tmp_path, server)
    [note] = worker.take_notes()
    assert worker.end == "", worker.last_lines()
    assert [trial.value for trial in study.trials()] == [3.0] * 3
    assert note.startswith(
        "the code of a trial changed os.environ['MINE'], torch.use_deterministic_algorithms, "
        "os.chdir; that holds"
    )
    assert Result(study).seconds["import"] > 0


def test_a_trial_and_its_processes_see_the_gpus_that_the_worker_was_given(
    tmp_path: Path, server: ForkServer
) -> None:
    study = begin_function(tmp_path, TELL_GPUS)
    gpus = ("cuda:2", "cuda:3")
    place = Placement("cuda:0", 1, 1, gpus=gpus, visible="4,7")
    worker = work(study, tmp_path, server, place)
    assert worker.end == "", worker.last_lines()
    assert "cuda:0 4,7 4,7" in worker.last_lines()
    [begun, *_], _ = read_events(study.paths.events(0))
    assert isinstance(begun, Started)
    assert begun.tags["device"] == "cuda:2+3"
    rooms = {path.name for path in study.paths.device_room("cpu").parent.glob("*.lock")}
    assert rooms == {study.paths.device_room(gpu).name for gpu in gpus}


def test_code_of_the_trials_logs_to_their_own_runs(tmp_path: Path, server: ForkServer) -> None:
    function = f"{function_spec(tmp_path).sections['train']['function']}"
    train = {"function": function, "mlflow": "trial", "x": {"low": 0.0, "high": 1.0}}
    study = begin_function(tmp_path, LOG_TO_MLFLOW, trials=2, train=train)
    uri = f"sqlite:///{study.paths.mlflow_db}"
    sync = BackgroundSync(study, {}, print)
    sync.start()
    worker = work(study, tmp_path, server, tracking_uri=uri)
    assert worker.end == "", worker.last_lines()
    assert sync.finish(lambda: False)
    assert worker.take_notes() == []
    assert "retries None" in worker.last_lines()  # those of the mirror are not inherited
    client = MlflowClient(uri)
    [experiment] = client.search_experiments(filter_string="name = 'small'")
    runs = client.search_runs([experiment.experiment_id], "tags.`sweeper.kind` = 'trial'")
    assert len(client.search_runs([experiment.experiment_id])) == 3
    for run in runs:
        number = int(run.data.tags["sweeper.trial"])
        points = client.get_metric_history(run.info.run_id, "by_batch")
        assert [(point.step, point.value) for point in points] == [
            (step, number) for step in (100, 101, 102)
        ]
        assert run.data.metrics["score"] == number
        [*_, end], _ = read_events(study.paths.events(number))
        assert (run.info.status, run.info.end_time) == ("FINISHED", round(end.time_s * 1000))
