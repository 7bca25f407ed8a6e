"""What goes wrong in users' code, data and servers ends with a cause and a way out."""

import pytest

from sweeper.trial import TrialState
from tests.support.sweep import Sweep

FUNCTION = """
objective: {{metric: score, direction: maximize}}
budget: {{trials: {trials}}}
pruner: {{name: none}}
train: {{function: "own:run", x: {{low: 0.0, high: 1.0}}}}
run: {{workers: 1}}
"""


def write_function(sweep: Sweep, body: str, *, trials: int = 4) -> None:
    sweep.write(FUNCTION.format(trials=trials))
    (sweep.folder / "own.py").write_text(f"import math, os\ndef run(params, trial):\n    {body}\n")


@pytest.mark.gate
def test_failed_trials_are_replaced_and_their_cause_is_told(sweep: Sweep) -> None:
    write_function(
        sweep,
        "assert trial.number != 1, 'number one is unlucky'\n"
        "    trial.report(1, score=math.nan if trial.number == 2 else params['train']['x'])",
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    states = sweep.states()
    assert states == {0: "complete", 1: "failed", 2: "diverged", 3: "complete", 4: "complete"}
    assert [run.info.status for run in sweep.runs()] == [
        "FINISHED", "FAILED", "KILLED", "FINISHED", "FINISHED",
    ]  # fmt: skip
    failed = sweep.runs()[1]
    assert failed.data.tags["sweeper.cause"] == "AssertionError: number one is unlucky"
    assert "own.py" in failed.data.tags["sweeper.details"]
    status = sweep.run("status", "sweep.yaml").stdout
    assert "failed   1: AssertionError: number one is unlucky" in status


@pytest.mark.gate
def test_ten_failures_of_one_cause_stop_the_study_with_it(sweep: Sweep) -> None:
    write_function(sweep, "raise ValueError(f'no luck in trial {trial.number}')", trials=40)
    done = sweep.run()
    assert done.returncode == 1
    assert (
        "stopped: trial after trial failed, the latest of ValueError: no luck in trial"
        in done.stderr
    )
    assert 'own.py", line 3, in run' in done.stderr
    assert sweep.result().counts[TrialState.FAILED] == 10


@pytest.mark.slow
@pytest.mark.usefixtures("started_anew")
def test_workers_that_die_at_once_stop_the_study_with_their_last_words(sweep: Sweep) -> None:
    sweep.write_default(trials=1)
    assert sweep.run().returncode == 0
    sweep.write_default(trials=2)
    broken = sweep.folder / "broken"
    broken.mkdir()
    (broken / "torch.py").write_text("raise RuntimeError('this is not torch')\n")
    done = sweep.run(PYTHONPATH=str(broken))
    assert done.returncode == 1
    assert (
        "10 workers in a row died before they could claim a trial (a worker died: exit code 1)"
        in done.stderr
    )
    assert "this is not torch" in done.stderr


@pytest.mark.slow
def test_a_trial_that_kills_its_workers_fails_at_the_fourth(sweep: Sweep) -> None:
    write_function(
        sweep,
        "trial.number == 0 and os.kill(os.getpid(), 9)\n    trial.report(1, score=1.0)",
        trials=2,
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert sweep.states() == {0: "failed", 1: "complete", 2: "complete"}
    [failure] = sweep.result().failures
    assert failure.cause == "its worker died: killed by SIGKILL, 4 times"


@pytest.mark.slow
def test_training_goes_on_without_a_tracking_server_and_nothing_is_lost(sweep: Sweep) -> None:
    sweep.write_default(trials=3)
    text = sweep.file.read_text()
    sweep.write(text + "tracking: {uri: 'http://ann:hunter2@127.0.0.1:9'}\n")
    done = sweep.run()
    assert done.returncode == 0
    assert f"Training goes on; the events wait in {sweep.paths.study_dir}\n" in done.stderr
    assert "MLflow does not have everything yet: sweeper sync sweep.yaml" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr + sweep.paths.resolved_spec.read_text()
    assert len(sweep.states()) == 3
    sweep.write(text)
    assert sweep.run().returncode == 0
    assert len(sweep.runs()) == 3
    assert {run.info.status for run in sweep.runs()} <= {"FINISHED", "KILLED"}


@pytest.mark.gate
def test_data_that_are_not_to_be_had_stop_the_run_before_any_trial(sweep: Sweep) -> None:
    sweep.write_default(trials=2)
    sweep.write(sweep.file.read_text().replace("name: digits", "name: own:load"))
    (sweep.folder / "own.py").write_text("def load():\n    return 5\n")
    done = sweep.run("check", "sweep.yaml")
    assert done.returncode == 1
    assert "own:load" in done.stderr
    assert not sweep.paths.trials_dir.exists()


@pytest.mark.slow
def test_user_code_can_neither_keep_a_worker_alive_nor_slip_out_of_it(sweep: Sweep) -> None:
    write_function(
        sweep,
        "import threading, time\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    trial.number == 1 and os._exit(0)\n"
        "    trial.report(1, score=1.0)\n"
        "    print('said by', trial.number)",
        trials=2,
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert sweep.states() == {0: "complete", 1: "failed", 2: "complete"}
    assert "a worker died: exit code 0; its trial is given back" in done.stderr
    logs = sweep.paths.worker_log("x").parent.glob("*.log")
    assert "said by 2" in "".join(path.read_text() for path in logs)


@pytest.mark.slow
def test_data_that_change_within_a_study_fail_its_trials(sweep: Sweep) -> None:
    sweep.write_default(trials=2)
    sweep.write(sweep.file.read_text().replace("name: digits", "name: own:load"))
    (sweep.folder / "own.py").write_text(
        "import os, torch\n"
        "def load():\n"
        "    torch.manual_seed(0)\n"
        "    n = 90 if os.path.exists('later') else 60\n"
        "    return (torch.rand(n, 4), torch.arange(n) % 3), None\n"
    )
    assert sweep.run().returncode == 0
    (sweep.folder / "later").touch()
    sweep.write(sweep.file.read_text().replace("trials: 2", "trials: 3"))
    done = sweep.run()
    assert done.returncode == 1
    assert "DataError: the data have fingerprint" in done.stderr
    assert "trials on different data would not compare" in done.stderr
