"""A program that calls mlflow itself, as strangers wrote it, logs to the run of its trial."""

import shutil
from pathlib import Path

import pytest

from sweeper.events import Ended
from tests.support.sweep import Sweep

pytestmark = [pytest.mark.slow, pytest.mark.gate]
PROGRAM = Path(__file__).parents[1] / "programs" / "tracked.py"
N_EPOCHS = 4
STUDY = f"""
name: sweep
objective: {{metric: train_loss, direction: minimize}}
budget: {{trials: 1}}
pruner: {{name: none}}
train:
  command: >-
    python tracked.py -l ${{train.learning_rate}} --max-epochs {N_EPOCHS} --delay 0.03
    --experiment sweep
  report: {{epoch: '\\[ *(\\d+)\\]', train_loss: 'train loss ([\\d.]+)'}}
  mlflow: trial
  learning_rate: {{low: 0.001, high: 0.1, log: true}}
run: {{workers: 1, device: cpu}}
"""


def test_a_program_logs_to_the_run_of_its_trial_before_and_after_a_stop(sweep: Sweep) -> None:
    shutil.copy(PROGRAM, sweep.folder)
    sweep.write(STUDY)
    sweep.start_and_stop(when=lambda: sweep.epochs(0))
    [run] = sweep.runs()
    assert run.info.status == "SCHEDULED"
    assert run.data.params["max_epochs"] == str(N_EPOCHS)

    done = sweep.run()
    assert done.returncode == 0, done.stderr
    [again] = sweep.runs()
    assert again.info.run_id == run.info.run_id
    end = sweep.events(0)[-1]
    assert isinstance(end, Ended)
    assert (again.info.status, again.info.end_time) == ("FINISHED", round(end.time_s * 1000))
    client = sweep.client()
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["weights.pt"]
    own = client.get_metric_history(run.info.run_id, "test_loss")
    assert {point.step for point in own} == set(range(N_EPOCHS))
    # By its own code from 0 on, in each of two processes, and as it was reported, once.
    points = client.get_metric_history(run.info.run_id, "train_loss")
    reported = {(epoch.epoch, round(epoch.time_s * 1000)) for epoch in sweep.epochs(0)}
    ours = [point for point in points if (point.step, point.timestamp) in reported]
    assert sorted(point.step for point in ours) == [*range(1, N_EPOCHS + 1)]
    assert len(points) == len(ours) + len(own)
    examined = sweep.run("doctor", "sweep.yaml")
    assert examined.returncode == 0, examined.stdout
