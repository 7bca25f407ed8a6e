"""One small study run to its goal by the command that users type, looked at from every side."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml

from sweeper.config.settings import DataConfig
from sweeper.data.dataset import load_data
from sweeper.trial import EpochMetrics
from tests.support.sweep import Sweep, last_json

pytestmark = pytest.mark.gate  # whole commands, one after the other

N_TRIALS = 6
MLFLOW_STATE = {"complete": "FINISHED", "pruned": "FINISHED"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    sweep = Sweep(tmp_path_factory.mktemp("finished"))
    sweep.write_default(trials=N_TRIALS, epochs=4, workers=2)
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    (sweep.folder / "stdout").write_text(done.stdout)
    return sweep


@pytest.mark.filterwarnings("ignore")
def test_one_line_a_trial_then_the_best(finished: Sweep) -> None:
    lines = (finished.folder / "stdout").read_text().splitlines()
    assert sum(line.startswith("[") for line in lines) == N_TRIALS
    assert any(line.startswith(f"sweep: {N_TRIALS} of {N_TRIALS} trials: ") for line in lines)
    best = finished.result().best
    assert best is not None
    assert f"best trial {best.number}: val_accuracy {best.values['val_accuracy']:.6g}" in lines
    assert lines[-3:-1] == [
        "compare them: sweeper ui sweep.yaml",
        "to go on, raise budget.trials in the file: sweeper run sweep.yaml",
    ]
    says, _, code = lines[-1].partition(": ")
    assert says == "load the best model"
    # In a process of its own, as set_tracking_uri holds for all that a process does afterwards.
    images = "numpy.zeros((2, 1, 8, 8), numpy.float32)"
    use = f"{code}; import numpy; print(model.predict({images}).shape)"
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True)
    assert done.stdout == "(2, 10)\n", done.stderr


def test_as_many_runs_as_trials_and_the_same_states_in_both_stores(finished: Sweep) -> None:
    states = finished.states()
    assert sorted(states) == list(range(N_TRIALS))
    assert {int(run.data.tags["sweeper.trial"]): run.info.status for run in finished.runs()} == {
        number: MLFLOW_STATE[state] for number, state in states.items()
    }
    [parent] = finished.runs("study")
    assert parent.info.status == "FINISHED"
    assert all(
        run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in finished.runs()
    )


def test_every_curve_is_complete_with_the_time_measured(finished: Sweep) -> None:
    client = finished.client()
    for number, run in enumerate(finished.runs()):
        epochs = [e for e in finished.events(number) if isinstance(e, EpochMetrics)]
        for name in epochs[0].values:
            curve = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value, m.timestamp) for m in curve] == [
                (e.epoch, e.values[name], round(e.time_s * 1000)) for e in epochs
            ]


def test_a_run_says_all_that_decided_its_numbers(finished: Sweep) -> None:
    run = finished.runs()[0]
    tags = run.data.tags
    constants = yaml.safe_load(tags["sweeper.constants"])
    assert constants["model.architecture"] == "mlp"
    assert constants["model.activation"] == "relu"  # the builder's default
    assert constants["train.momentum"] == 0.9  # the default of train
    assert run.data.params.keys() == finished.study().spec.ranges().keys()
    names = ("state", "trial", "sampler", "drawn_by", "seed", "device", "host", "data_fingerprint")
    assert all(tags[f"sweeper.{name}"] for name in names)
    assert tags["sweeper.version.torch"] == torch.__version__.partition("+")[0]
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.name == "digits"
    assert dataset.dataset.digest == tags["sweeper.data_fingerprint"]


@pytest.mark.filterwarnings("ignore")
def test_the_best_model_gives_its_validation_accuracy_again(
    finished: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = finished.result().best
    assert best is not None
    run = finished.runs()[best.number]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished.paths.mlflow_db}")
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    data = load_data(
        DataConfig(name="digits"),
        cache_dir=finished.paths.cache_dir,
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )
    assert data.info.fingerprint == run.data.tags["sweeper.data_fingerprint"]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.info.mean, data.info.std))
    hits = n_rows = 0
    for inputs, targets in data.validation.batches(50):
        pixels = (inputs * std + mean).numpy()  # what ToTensor would give
        logits = np.asarray(model.predict(pixels))
        hits += int((logits.argmax(1) == targets.numpy()).sum())
        n_rows += len(targets)
    assert hits / n_rows == pytest.approx(best.values["val_accuracy"], abs=1e-12)
    for batch in (1, 1000):
        assert model.predict(np.zeros((batch, 1, 8, 8), np.float32)).shape == (batch, 10)


def test_status_tells_people_and_scripts(finished: Sweep) -> None:
    text = finished.run("status", "sweep.yaml").stdout
    assert f"goal     {N_TRIALS} of {N_TRIALS} trials finished" in text
    sampler, why = finished.result().sampler
    assert sampler == "conditional_gp"
    assert f"drawn    1 default, {N_TRIALS - 1} sobol" in text
    assert f"sampler  {sampler}: {why}" in text
    record = last_json(finished.run("status", "sweep.yaml", "--json").stdout)
    assert record["finished"] == record["goal"] == N_TRIALS
    assert record["sampler"] == {"name": sampler, "why": why}


def test_again_there_is_nothing_to_import_for(finished: Sweep) -> None:
    """Which is what takes a command on a finished study its time."""
    code = (
        "import sys, sweeper; result = sweeper.run('sweep.yaml'); "
        "print(result.exit_code, sys.modules.keys() & {'torch', 'mlflow', 'scipy'})"
    )
    command = [sys.executable, "-c", code]
    again = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True)
    assert again.stdout.splitlines()[-1] == "0 set()", again.stderr


def test_again_means_goal_reached_and_a_higher_budget_goes_on(finished: Sweep) -> None:
    again = finished.run()
    assert again.returncode == 0
    assert not any(line.startswith("[") for line in again.stdout.splitlines())
    assert len(finished.runs()) == N_TRIALS
    finished.write_default(trials=N_TRIALS + 1, epochs=4, workers=1)
    more = finished.run("run", "sweep.yaml", "--json")
    assert more.returncode == 0
    records = [json.loads(line) for line in more.stdout.splitlines()]
    assert [record.get("trial") for record in records] == [N_TRIALS, None]
    assert records[-1]["finished"] == N_TRIALS + 1
    assert len(finished.runs()) == N_TRIALS + 1
    assert len(finished.runs("study")) == 1


def test_a_changed_range_is_refused_with_the_ways_out(finished: Sweep) -> None:
    finished.write(finished.file.read_text().replace("high: 1e-1", "high: 1"))
    refused = finished.run()
    assert refused.returncode == 1
    assert refused.stderr == (
        "sweep.yaml: the search has changed since study 'sweep' began:\n"
        '  train.learning_rate: was {"low": 0.0001, "high": 0.1, "log": true}, '
        'is {"low": 0.0001, "high": 1.0, "log": true}\n'
        "Trials before and after would not compare. Change it back, or begin another study with "
        "`--name NEW`, or a new `name:` in the file; it learns from these trials by `warm_start: "
        "{from: sweep}`. Budget, sampler, pruner, run and tracking may change freely.\n"
    )


def test_under_another_name_it_is_searched_as_the_command_line_says(finished: Sweep) -> None:
    words = ["sweep.yaml", "train.epochs=1", "budget.trials=1", "model.width={choices: [4, 8]}"]
    done = finished.run("run", *words, "--name", "other")
    assert done.returncode == 0, done.stderr
    words[-1] = "'model.width={choices: [4, 8]}' name=other"
    assert f"compare them: sweeper ui {' '.join(words)}\n" in done.stdout
    resolved = yaml.safe_load((finished.folder / "mlruns/studies/other/study.yaml").read_text())
    assert (resolved["name"], resolved["train"]["epochs"]) == ("other", 1)
    assert resolved["model"]["width"] == {"choices": [4, 8]}
    shown = finished.run("status", *shlex.split(" ".join(words)))
    assert "goal     1 of 1 trials finished" in shown.stdout, shown.stdout + shown.stderr
    none = finished.run("status", "sweep.yaml", "--name", "third")
    assert none.stderr == ("study 'third' has not begun: sweeper run sweep.yaml name=third\n")


def test_nothing_is_left_lying_about(finished: Sweep) -> None:
    left = {path.name for path in finished.paths.study_dir.rglob("*") if path.is_file()}
    assert not any(name.endswith((".tmp", ".partial")) for name in left)
    assert "checkpoint.pt" not in left
    assert not list(Path(finished.paths.presence_dir).iterdir())
