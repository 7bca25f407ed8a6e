"""Logged models answer as the trained ones do, for any batch, and are logged once."""

import json
import logging
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow.entities import LoggedModelStatus, Run
from mlflow.models import Model
from torch import nn

from sweeper.config.settings import ModelConfig
from sweeper.errors import RequestRefusedError, TrackerError
from sweeper.models.build import build_model
from sweeper.paths import RunPaths
from sweeper.tracking.exported import ExportedModels
from sweeper.tracking.exporter import Exporter
from sweeper.tracking.mirrored_study import LogModels
from sweeper.trial import Features, Objective, TrialState
from tests.support.small_disk import small_disk
from tests.support.tracked_study import (
    DATA,
    MODEL,
    Store,
    complete_trial,
    ended,
    epoch,
    logged_models,
    started,
    two_complete_trials,
    write_weights,
)

CNN: Mapping[str, Any] = {"depth": 2, "channels": 4, "batch_norm": True, "dropout": 0.5}


@pytest.fixture(autouse=True)
def _same_store_for_pyfunc(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)


def artifacts(store: Store, run: Run, folder: str) -> dict[str, Path]:
    root = store.paths.artifacts / run.info.run_id / "artifacts" / folder
    return {path.name: path for path in root.glob("*")}


@pytest.mark.parametrize(("architecture", "params"), [("mlp", {"width": 8}), ("cnn", CNN)])
def test_a_logged_model_answers_as_the_trained_one_for_any_batch(
    store: Store, architecture: str, params: Mapping[str, Any]
) -> None:
    net = complete_trial(store, architecture, params)
    store.mirror(log_models="completed").send()
    run = store.trial()
    logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    images = np.random.default_rng(0).random((1000, *DATA.input_shape), np.float32)
    with torch.no_grad():
        expected = net((torch.from_numpy(images) - 0.3) / 0.4)
    for batch in (1, 2, 1000):
        answer = torch.from_numpy(logged.predict(images[:batch]))
        torch.testing.assert_close(answer, expected[:batch], rtol=1e-4, atol=1e-5)
    assert run.data.tags["sweeper.model"] == "pt2"


@pytest.mark.gate  # another kind of data, exported and loaded again
def test_a_logged_model_of_a_table_predicts_in_the_units_of_its_target(store: Store) -> None:
    table = replace(
        DATA,
        task="regression",
        n_outputs=1,
        input_shape=(4,),
        features=Features(n_numbers=2, categories=(3, 5)),
        mean=(),
        std=(),
        target_mean=(2e5,),
        target_std=(1e5,),
    )
    nets = [
        complete_trial(store, "mlp", {"embed_numbers": "periodic"}, number=number, data=table)
        for number in (0, 1)
    ]
    store.mirror(log_models="completed").send()
    rows = np.array([[0.5, -1, 2, 4], [0, 0, 0, 0], [9, 9, 1, 1]], np.float32)
    for net, run in zip(nets, store.runs("trial"), strict=True):
        logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
        with torch.no_grad():
            expected = net(torch.from_numpy(rows)).double() * 1e5 + 2e5
        for batch in (1, 3):
            answer = torch.from_numpy(logged.predict(rows[:batch]))
            torch.testing.assert_close(answer, expected[:batch], rtol=1e-6, atol=1e-2)


@pytest.mark.gate  # another kind of data, exported and loaded again
def test_a_logged_model_of_frames_takes_them_scaled_and_of_any_length_below_the_longest(
    store: Store,
) -> None:
    data = replace(DATA, input_shape=(8, 20), mean=(1.0,) * 8, std=(2.0,) * 8, frames=True)
    net = complete_trial(store, "cnn", {"depth": 2, "channels": 4, "batch_norm": True}, data=data)
    store.mirror(log_models="completed").send()
    run = store.trial()
    logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    frames = np.random.default_rng(0).normal(size=(3, 8, 20)).astype(np.float32)
    frames[0, :, 7:] = 0
    with torch.no_grad():
        expected = net(torch.from_numpy(frames))
        alone = net(torch.from_numpy(frames[:1, :, :7]))
    answer = torch.from_numpy(logged.predict(frames))
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer[:1], alone, rtol=1e-4, atol=1e-5)


def test_a_model_says_by_its_name_and_its_params_which_it_is(store: Store) -> None:
    dotted = replace(store, paths=RunPaths(store.paths.root, "digits.v2"))
    dotted.paths.study_dir.mkdir()
    dotted.paths.resolved_spec.write_text("name: digits.v2\n")
    complete_trial(dotted, "cnn", CNN, number=4)
    loss = Objective(("train_loss",), ("minimize",))
    searched = ["train.learning_rate"]
    dotted.mirror(log_models="completed", objective=loss, searched=searched).send()
    run = dotted.trial()
    assert run.info.run_name == "digits.v2-0004-cnn"
    [model] = store.client.search_logged_models([run.info.experiment_id])
    assert model.name == "digits_v2-0004-cnn"  # MLflow takes no dot there
    assert model.params == {"train.learning_rate": "0.01"}
    scores = [(metric.key, metric.value) for metric in model.metrics]
    assert scores == [("train_loss", 1.0), ("val_accuracy", 0.5)]  # the objective first


def test_trials_of_one_architecture_are_exported_once_and_answer_each_with_its_own_weights(
    store: Store, traces: list[torch.nn.Module]
) -> None:
    mean_and_std = [(0.3, 0.4), (0.3, 0.4), (0.7, 0.2)]
    nets = [
        complete_trial(
            store,
            "cnn",
            CNN,
            number=number,
            data=replace(DATA, mean=(mean,), std=(std,)),
        )
        for number, (mean, std) in enumerate(mean_and_std)
    ]
    store.mirror(log_models="completed").send()
    assert len(traces) == 1
    images = np.random.default_rng(0).random((1000, *DATA.input_shape), np.float32)
    for run, net, (mean, std) in zip(store.runs("trial"), nets, mean_and_std, strict=True):
        logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
        with torch.no_grad():
            expected = net((torch.from_numpy(images) - mean) / std)
        for batch in (1, 1000):
            answer = torch.from_numpy(logged.predict(images[:batch]))
            torch.testing.assert_close(answer, expected[:batch], rtol=1e-4, atol=1e-5)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What people are told of."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_while_a_first_trial_runs_a_network_like_its_own_is_exported(
    store: Store, traces: list[torch.nn.Module]
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    mirror = store.mirror(log_models="completed", exporter=Exporter())
    mirror.prepare_end()
    mirror.send()
    for _ in range(2):
        mirror.prepare_end()
    assert len(traces) == 1
    store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
    net = write_weights(store, 0, MODEL)
    mirror.send()
    assert len(traces) == 1
    run = store.trial()
    logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    images = np.random.default_rng(0).random((5, *DATA.input_shape), np.float32)
    with torch.no_grad():
        expected = net((torch.from_numpy(images) - 0.3) / 0.4)
    answer = torch.from_numpy(logged.predict(images))
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("log_models", ["none", "best"])
def test_where_not_each_model_is_logged_none_is_exported_before_it_must_be(
    store: Store, traces: list[torch.nn.Module], log_models: LogModels
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    mirror = store.mirror(log_models=log_models, exporter=Exporter())
    mirror.send()
    mirror.prepare_end()
    assert traces == []


@pytest.mark.parametrize("references", [[], ["lurking_model:build"]])
def test_a_network_that_cannot_be_exported_yet_is_told_of_once_when_its_trial_is_complete(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    references: list[str],
) -> None:
    mark = tmp_path / "mlruns" / "mark"
    (tmp_path / "mlruns" / "lurking_model.py").write_text(
        f"open({str(mark)!r}, 'w')\ndef build(input_shape, n_outputs):\n    raise SystemExit\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "mlruns")
    model = ModelConfig(architecture="lurking_model:build")
    store.append(0, replace(started(), model=model), epoch(1, 0.5))
    mirror = store.mirror(log_models="completed", references=references, exporter=Exporter())
    mirror.send()
    mirror.prepare_end()
    assert mark.exists() == bool(references)
    assert not told(caplog)
    store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
    torch.save({}, store.paths.model(0))
    mirror.send()
    assert len(told(caplog)) == 1


class Tokens(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 8)
        self.out = torch.nn.Linear(8, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.out(self.embedding(tokens).mean(1))
        return logits

    def get_extra_state(self) -> dict[str, int]:
        return {"vocabulary": 50}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"vocabulary": 50}


def build_tokens(input_shape: tuple[int, ...], n_outputs: int) -> torch.nn.Module:
    return Tokens()


def test_a_model_of_token_ids_is_logged_as_one(store: Store) -> None:
    data = replace(DATA, input_shape=(12,), mean=(), std=(), input_dtype="int64")
    reference = f"{__name__}:build_tokens"
    net = complete_trial(store, reference, {}, data=data)
    store.mirror(log_models="completed", references=[reference]).send()
    run = store.trial()
    logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    assert [str(column.type) for column in logged.metadata.signature.inputs] == ["int64"]
    tokens = np.random.default_rng(0).integers(0, 50, (7, 12))
    with torch.no_grad():
        expected = net(torch.from_numpy(tokens))
    answer = torch.from_numpy(logged.predict(tokens))
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


def test_another_architecture_shape_or_number_of_classes_is_exported_anew(
    store: Store, traces: list[torch.nn.Module]
) -> None:
    larger = replace(DATA, input_shape=(1, 9, 9))
    complete_trial(store, "mlp", {"width": 8}, number=0)
    complete_trial(store, "mlp", {"width": 9}, number=1)
    complete_trial(store, "mlp", {"width": 8}, number=2)
    model = ModelConfig(architecture="mlp", params={"width": 8})
    other = replace(DATA, n_outputs=11)
    for number, data in ((3, larger), (4, other)):
        start = replace(started(), model=model, data=data)
        store.append(number, start, epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
        net = build_model("mlp", data.input_shape, data.n_outputs, width=8)
        torch.save(net.state_dict(), store.paths.model(number))
    store.mirror(log_models="completed").send()
    assert len(traces) == 4
    assert len(logged_models(store)) == 5


def test_models_of_one_trace_have_all_files_and_a_card_of_their_own(store: Store) -> None:
    for number in (0, 1):
        complete_trial(store, "mlp", {"width": 8}, number=number)
    store.mirror(log_models="completed").send()
    models = {model.source_run_id: model for model in logged_models(store)}
    files, times = [], []
    for run in store.runs("trial"):
        model = models[run.info.run_id]
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
        card = Model.load(str(folder))
        assert card.run_id == run.info.run_id
        assert card.model_id == card.model_uuid == model.model_id
        assert card.artifact_path == model.artifact_location
        files.append({path.relative_to(folder) for path in folder.rglob("*") if path.is_file()})
        times.append(card.utc_time_created)
    assert files[0] == files[1]
    assert Path("data/model.pt2") in files[0]
    assert times[0] < times[1]


def test_of_exported_models_the_ones_used_last_are_kept_as_far_as_memory_goes() -> None:
    @dataclass
    class Sized:
        n_bytes: int

    kept = ExportedModels()
    small, medium, large = (Sized(2**20 * mib) for mib in (10, 40, 100))
    kept.keep("small", small)  # type: ignore[arg-type]
    kept.keep("medium", medium)  # type: ignore[arg-type]
    kept.find("small")
    kept.keep("also medium", medium)  # type: ignore[arg-type]
    assert [kept.find(name) for name in ("small", "medium", "also medium")] == [
        small,
        None,
        medium,
    ]
    kept.keep("large", large)  # type: ignore[arg-type]
    assert [kept.find(name) for name in ("small", "also medium", "large")] == [None, None, large]


def test_logging_a_model_leaves_torch_as_many_threads_as_it_had(store: Store) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        complete_trial(store, "mlp", {"width": 8})
        store.mirror(log_models="completed").send()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_process_that_exported_a_model_ends_without_a_word() -> None:
    code = (
        "import sweeper.tracking\n"
        "from sweeper.imports import loading\n"
        "with loading('torch.export'):\n"
        "    from sweeper.tracking.exported import import_export\n"
        "    import_export()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_model_is_listed_with_its_run_and_needs_nothing_of_ours(store: Store) -> None:
    complete_trial(store, "mlp", {"width": 8})
    store.mirror(log_models="completed").send()
    [model] = logged_models(store)
    run = store.trial()
    assert (model.name, model.status) == ("digits-0000-mlp", LoggedModelStatus.READY)
    assert model.source_run_id == run.info.run_id
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.params["train.learning_rate"] == "0.01"
    assert {m.key: m.value for m in model.metrics} == {"val_accuracy": 0.5, "train_loss": 1.0}
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    requirements = (folder / "requirements.txt").read_text().split()
    version = torch.__version__.partition("+")[0]
    assert requirements == [f"mlflow=={mlflow.__version__}", f"torch=={version}"]
    flavor = Model.load(str(folder)).flavors["pytorch"]
    assert flavor["pytorch_version"] == torch.__version__  # else MLflow warns whoever loads it


def test_logging_a_model_is_silent_also_in_a_thread(
    store: Store, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    complete_trial(store, "cnn", CNN)
    mirror = store.mirror(log_models="completed")
    thread = threading.Thread(target=mirror.send)
    thread.start()
    thread.join()
    assert len(logged_models(store)) == 1
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_lost_cursors_do_not_log_a_model_again(store: Store) -> None:
    complete_trial(store, "mlp", {"width": 8})
    store.mirror(log_models="completed").send()
    [first] = logged_models(store)
    store.paths.shipped(0).unlink()
    store.mirror(log_models="completed").send()
    [again] = logged_models(store)
    assert again.model_id == first.model_id
    assert len(store.trial().outputs.model_outputs) == 1
    assert {m.key for m in again.metrics} == {"val_accuracy", "train_loss"}
    assert len(again.metrics or ()) == 2


def test_a_model_cut_off_by_a_crash_is_completed(store: Store) -> None:
    store.append(0, started(), epoch(1, 0.5))
    parent = store.mirror().open()
    store.mirror().send()
    half = store.client.create_logged_model(
        parent.experiment_id, "model", source_run_id=store.trial().info.run_id
    )
    store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
    write_weights(store, 0, started().model or pytest.fail("no model"))
    store.mirror(log_models="completed").send()
    [model] = logged_models(store)
    assert (model.model_id, model.status) == (half.model_id, LoggedModelStatus.READY)
    assert len(store.trial().outputs.model_outputs) == 1


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="there is no folder that refuses all")
def test_artifacts_that_cannot_be_written_to_a_folder_have_no_address_to_check(
    store: Store,
) -> None:
    complete_trial(store, "mlp", {"width": 8})
    mirror = store.mirror(log_models="completed")
    mirror.open()
    (store.paths.artifacts / "models").symlink_to("/sys/kernel")
    with pytest.raises(
        TrackerError, match=r"fails: PermissionError: .*; see that the disk has ro"
    ):
        mirror.send()


def test_an_artifact_store_that_fails_stops_no_metrics_and_gets_the_model_later(
    store: Store,
) -> None:
    complete_trial(store, "mlp", {"width": 8})
    store.append(1, started(), epoch(1, 0.5), ended(TrialState.PRUNED, epoch(1, 0.5)))
    mirror = store.mirror(log_models="completed")
    mirror.open()
    blocked = store.paths.artifacts / "models"
    blocked.write_text("a file where MLflow wants a folder")
    with pytest.raises(TrackerError, match="artifact store fails: .*check its address"):
        mirror.send()
    assert [run.info.status for run in store.runs("trial")] == ["RUNNING", "FINISHED"]
    blocked.unlink()
    mirror.send()
    assert [run.info.status for run in store.runs("trial")] == ["FINISHED", "FINISHED"]
    [model] = logged_models(store)
    assert model.status == LoggedModelStatus.READY


def test_none_logs_no_model_and_best_only_that_of_the_best_trial_at_the_end(store: Store) -> None:
    two_complete_trials(store)
    for number in (0, 1):
        write_weights(store, number, started().model or pytest.fail("no model"))
    for setting in ("none", "best"):
        mirror = store.mirror(log_models=setting)
        mirror.send()
        assert logged_models(store) == []
    counts = {TrialState.COMPLETE: 2}
    mirror.finish(goal_reached=False, best_trials=[1], counts=counts, seconds={}, sampler={})
    assert logged_models(store) == []
    for _ in range(2):
        mirror.finish(goal_reached=True, best_trials=[1], counts=counts, seconds={}, sampler={})
    [model] = logged_models(store)
    assert model.source_run_id == store.runs("trial")[1].info.run_id


@pytest.mark.parametrize("size", ["8k", "24k"])  # less than a program, or than two
def test_that_the_scratch_disk_is_full_costs_no_model_and_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    complete_trial(store, "mlp", {"width": 8})
    mirror = store.mirror(log_models="completed", exporter=Exporter())
    with small_disk(store.paths.root / "small", size) as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(RequestRefusedError) as raised:
            mirror.send()
        monkeypatch.undo()
    for told in (str(store.paths.model(0)), "No space left", f"make room in {folder}", "TMPDIR"):
        assert told in str(raised.value)
    assert artifacts(store, store.trial(), "weights") == {}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    mirror.send()
    assert store.trial().data.tags["sweeper.model"] == "pt2"
    [model] = logged_models(store)
    mlflow.pyfunc.load_model(f"models:/{model.model_id}")


UNTRACEABLE = """
from torch import nn

class Odd(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)

    def forward(self, images):
        if {condition}:
            images = images * 1
        return self.linear(images.flatten(1))

def build(input_shape, n_outputs):
    return Odd(input_shape[0] * input_shape[1] * input_shape[2], n_outputs)
"""


@pytest.mark.parametrize(
    ("module", "condition"),
    [("depends_on_values", "images.sum() > 0"), ("depends_on_batch", "len(images) == 2")],
)
def test_what_cannot_be_exported_for_any_batch_is_logged_as_weights_and_reference(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: str,
    condition: str,
) -> None:
    code = store.paths.root / "code"
    code.mkdir()
    (code / f"{module}.py").write_text(UNTRACEABLE.replace("{condition}", condition))
    monkeypatch.syspath_prepend(code)
    complete_trial(store, f"{module}:build", {})
    store.mirror(log_models="completed", references=[f"{module}:build"]).send()
    run = store.trial()
    assert run.info.run_name == "digits-0000-build"
    assert run.data.tags["sweeper.model"] == "state_dict"
    assert "cannot be logged as pt2" in caplog.text
    assert logged_models(store) == []
    files = artifacts(store, run, "weights")
    assert sorted(files) == ["model.pt", "reference.json"]
    assert json.loads(files["reference.json"].read_text())["model"]["architecture"] == (
        f"{module}:build"
    )


LURKING = """
import pathlib
pathlib.Path({mark!r}).touch()

def build(input_shape, n_outputs):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_outputs))
"""


@pytest.mark.parametrize("log_models", ["best", "completed"])
def test_code_that_a_log_names_is_called_only_if_the_study_file_names_it(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    log_models: LogModels,
) -> None:
    module, code, mark = f"lurking_{log_models}", store.paths.root / "code", store.paths.root / "m"
    code.mkdir()
    (code / f"{module}.py").write_text(LURKING.format(mark=str(mark)))
    monkeypatch.syspath_prepend(code)
    model = ModelConfig(architecture=f"{module}:build")
    start = replace(started(), model=model)
    store.append(0, start, epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.save(net.state_dict(), store.paths.model(0))

    def send(references: Collection[str]) -> str:
        mirror = store.mirror(log_models=log_models, references=references)
        mirror.send()
        mirror.forget(0)
        mirror.send()
        counts = {TrialState.COMPLETE: 1}
        mirror.finish(goal_reached=True, best_trials=[0], counts=counts, seconds={}, sampler={})
        return str(store.trial().data.tags["sweeper.model"])

    assert send(["another:build"]) == "weights"
    assert not mark.exists()
    assert sorted(artifacts(store, store.trial(), "weights")) == ["model.pt", "reference.json"]
    assert store.trial().info.status == "FINISHED"
    assert store.trial().data.metrics["best_val_accuracy"] == 0.5
    command = {"best": "sweeper sync STUDY.yaml", "completed": "sweeper doctor STUDY.yaml --fix"}
    assert f"the reference {module}:build, which names code that is not called" in caplog.text
    assert f"`{command[log_models]}`, where that code can be imported" in caplog.text
    assert send([f"{module}:build"]) == "pt2"
    assert mark.exists()


@pytest.mark.parametrize("content", [b"root:x:0:0", pickle.dumps([1], protocol=2), b""])
def test_a_file_that_holds_no_weights_is_not_sent(
    store: Store, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    two_complete_trials(store)
    write_weights(store, 1, started().model or pytest.fail("no model"))
    store.paths.model(0).write_bytes(content)
    store.mirror(log_models="completed").send()
    assert f"{store.paths.model(0)}: holds no state_dict" in caplog.text
    first, second = store.runs("trial")
    assert [run.data.tags["sweeper.model"] for run in (first, second)] == ["unreadable", "pt2"]
    assert artifacts(store, first, "weights") == {}
    assert first.info.status == "FINISHED"


def test_weights_that_are_absent_are_reported_and_stop_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    two_complete_trials(store)
    write_weights(store, 1, started().model or pytest.fail("no model"))
    store.mirror(log_models="completed").send()
    assert "trial 0 gets no model" in caplog.text
    assert [run.info.status for run in store.runs("trial")] == ["FINISHED", "FINISHED"]
    assert len(logged_models(store)) == 1


def test_a_training_function_of_the_users_own_has_no_model(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    start = replace(started(), model=None, data=None)
    store.append(0, start, epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    store.mirror(log_models="completed").send()
    assert store.trial().info.run_name == "digits-0000"
    assert logged_models(store) == []
    assert caplog.records == []
