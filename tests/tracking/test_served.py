"""Logged models take rows as a person has them, and answer by names."""

import io
import logging
import wave
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException

from sweeper.config.settings import DataConfig
from sweeper.data.dataset import TrialData, load_data
from tests.support.picture_files import picture, write_pictures
from tests.support.table_files import mixed_columns, write_table
from tests.support.tracked_study import Store, complete_trial
from tests.support.wav_files import tone, write_wav

pytestmark = (
    pytest.mark.gate
)  # each exports, logs and loads a model; one does so in test_served_texts

REPOSITORY = Path(__file__).parents[2]
NETWORK: Mapping[str, Any] = {"depth": 1, "width": 8, "embed_numbers": "periodic"}


@pytest.fixture(autouse=True)
def _same_store_for_pyfunc(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the data, beside that of the study."""
    return tmp_path_factory.mktemp("data")


def load(folder: Path, target: str | list[str], **params: Any) -> TrialData:
    write_table(folder / "rows.csv", mixed_columns(0, work="at sea"))
    write_table(folder / "held_out.csv", mixed_columns(1, work="in air"))
    return load_data(
        DataConfig(
            name="table",
            validation={"path": str(folder / "held_out.csv")},  # type: ignore[arg-type]
            params={"path": str(folder / "rows.csv"), "target": target, **params},
        ),
        cache_dir=folder / "cache",
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )


def held_out(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "held_out.csv")


def log(
    store: Store,
    *trials: TrialData,
    architecture: str = "mlp",
    params: Mapping[str, Any] = NETWORK,
) -> list[torch.nn.Module]:
    nets = []
    for number, data in enumerate(trials):
        assert data.preprocessing is not None
        path = store.paths.preprocessing(data.preprocessing.digest)
        path.parent.mkdir(exist_ok=True)
        torch.save(data.preprocessing.state(), path)
        nets.append(complete_trial(store, architecture, params, number=number, data=data.info))
    store.mirror(log_models="completed").send()
    return nets


def served(store: Store, number: int = 0) -> Any:
    run = store.runs("trial")[number]
    return mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")


def outputs(net: torch.nn.Module, data: TrialData) -> torch.Tensor:
    """Of the validation rows, as training computes them."""
    [(inputs, _)] = data.validation.batches(40)
    with torch.no_grad():
        found: torch.Tensor = net(inputs)
    return found.double()


def assert_answers(answers: pd.DataFrame, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.tensor(answers.to_numpy()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", ["standard", "quantile"])
def test_a_classifier_of_rows_answers_chances_by_the_names_of_classes(
    store: Store, folder: Path, scale: str
) -> None:
    data = load(folder, "lives", ignore=["sails"], scale=scale)
    [net] = log(store, data)
    answers = served(store).predict(held_out(folder))
    assert list(answers) == ["no", "yes"]
    assert_answers(answers, outputs(net, data).softmax(1))


def test_a_model_of_labels_answers_the_chance_of_each_by_its_name(
    store: Store, folder: Path
) -> None:
    data = load(folder, ["sails", "rich"], ignore=["lives"])
    [net] = log(store, data)
    answers = served(store).predict(held_out(folder))
    assert list(answers) == ["sails", "rich"]
    assert_answers(answers, outputs(net, data).sigmoid())


def test_a_regression_of_rows_answers_in_the_units_of_the_target(
    store: Store, folder: Path
) -> None:
    data = load(folder, "cost")
    [net] = log(store, data)
    answers = served(store).predict(held_out(folder))
    assert list(answers) == ["cost"]
    [mean], [std] = data.info.target_mean, data.info.target_std
    assert_answers(answers, outputs(net, data) * std + mean)


def test_of_rows_only_what_is_needed_must_be_there(store: Store, folder: Path) -> None:
    log(store, load(folder, "lives"))
    model, frame = served(store), held_out(folder)
    answers = model.predict(frame)  # the target is not looked at
    shuffled = frame[sorted(frame)].drop(columns="lives").astype({"pay": str, "sails": str})
    pd.testing.assert_frame_equal(model.predict(shuffled), answers)
    some = frame.iloc[[5, 3]]
    pd.testing.assert_frame_equal(model.predict(some), answers.iloc[[5, 3]], rtol=1e-6)
    assert len(model.predict(frame.iloc[:0])) == 0
    with pytest.raises(MlflowException, match=r"missing inputs \['age', 'work'\]"):
        model.predict(frame.drop(columns=["age", "work"]))
    with pytest.raises(ValueError, match="column 'age': 'old' in row 1 is no number"):
        model.predict(frame.assign(age="old"))


def test_a_signature_names_the_columns_and_the_example_is_of_no_row(
    store: Store, folder: Path
) -> None:
    log(store, load(folder, "lives"))
    model = served(store)
    inputs = model.metadata.signature.inputs.input_names()
    assert inputs == ["age", "pay", "sails", "rich", "cost", "work"]
    assert model.metadata.signature.outputs.input_names() == ["no", "yes"]
    example = model.input_example
    assert list(example) == inputs
    rows = mixed_columns(0, work="at sea")
    assert example["work"][0] == max(set(rows["work"]), key=rows["work"].count)
    assert example["pay"][0] == pytest.approx(np.median(rows["pay"]), rel=1e-6)
    assert model.predict(example).sum(axis=1).tolist() == pytest.approx([1])


def test_trials_on_the_same_columns_are_exported_once_and_each_answers_for_itself(
    store: Store, folder: Path, traces: list[torch.nn.Module]
) -> None:
    data = load(folder, "lives")
    nets = log(store, data, data, load(folder, "cost"))
    assert len(traces) == 2
    for number in (0, 1):
        answers = served(store, number).predict(held_out(folder))
        assert_answers(answers, outputs(nets[number], data).softmax(1))


def test_the_program_of_a_served_model_takes_tensors(store: Store, folder: Path) -> None:
    data = load(folder, "lives", ignore=["age", "pay", "sails", "rich"])
    [net] = log(store, data)
    run = store.trial()
    program = mlflow.pytorch.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
    cost = torch.tensor(held_out(folder)["cost"].to_numpy(), dtype=torch.float32)
    work = held_out(folder)["work"].map({"at sea": 1, "on land": 2, "in air": 0})
    with torch.no_grad():
        found = program(torch.stack([cost, torch.tensor(work.to_numpy())], 1))
    torch.testing.assert_close(found.double(), outputs(net, data), rtol=1e-6, atol=1e-6)


def test_a_served_model_names_what_it_imports_and_nothing_of_this_machine(
    store: Store, folder: Path
) -> None:
    log(store, load(folder, "lives"))
    run = store.trial()
    uri = f"runs:/{run.info.run_id}/{run.info.run_name}"
    files = Path(mlflow.artifacts.download_artifacts(uri))
    requirements = (files / "requirements.txt").read_text().split()
    packages = [line.partition("==")[0] for line in requirements]
    assert packages == ["mlflow", "torch", "pandas", "pyarrow"]
    assert "model_code_path: serve.py\n" in (files / "MLmodel").read_text()
    for name in ("serve.py", "read.py"):
        assert "import sweeper" not in (files / name).read_text()
        assert "from sweeper" not in (files / name).read_text()
    assert str(REPOSITORY).encode() not in (files / "data" / "model.pt2").read_bytes()
    assert b"site-packages" not in (files / "data" / "model.pt2").read_bytes()


@pytest.mark.parametrize("kept", ["absent", "torn", "another"])
def test_without_what_was_kept_a_model_takes_tensors_and_that_is_said(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture, kept: str
) -> None:
    data, other = load(folder, "lives"), load(folder, "cost")
    assert data.preprocessing is not None
    assert other.preprocessing is not None
    path = store.paths.preprocessing(data.preprocessing.digest)
    path.parent.mkdir()
    if kept == "torn":
        path.write_bytes(b"PK")
    if kept == "another":
        torch.save(other.preprocessing.state(), path)
    for number in (0, 1):
        complete_trial(store, "mlp", NETWORK, number=number, data=data.info)
    store.mirror(log_models="completed").send()
    [told] = [record.getMessage() for record in caplog.records if record.name == "sweeper"]
    assert "digits-0000-mlp takes samples as its network does, and answers without names" in told
    assert str(path) in told
    [(inputs, _)] = data.validation.batches(40)
    assert served(store).predict(inputs.numpy()).shape == (40, 2)


def test_a_table_of_an_older_study_is_logged_as_it_was_and_that_is_said(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = load(folder, "lives")
    net = complete_trial(store, "mlp", NETWORK, data=replace(data.info, preprocessing=""))
    store.mirror(log_models="completed").send()
    assert "trained by an older version of sweeper" in caplog.text
    [(inputs, _)] = data.validation.batches(40)
    found = torch.from_numpy(served(store).predict(inputs.numpy()))
    torch.testing.assert_close(found.double(), outputs(net, data), rtol=1e-6, atol=1e-6)


def test_logging_a_served_model_is_silent(
    store: Store,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    log(store, load(folder, "lives"))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_pictures_that_have_names_of_classes_are_answered_by_them(
    store: Store, folder: Path
) -> None:
    data = load_data(
        DataConfig(name="digits"),
        cache_dir=folder / "cache",
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )
    [net] = log(store, data, architecture="cnn", params={"depth": 1, "channels": 4})
    [inputs, *_], [mean], [std] = next(data.validation.batches(50)), data.info.mean, data.info.std
    pixels = (inputs * std + mean).numpy()  # what ToTensor would give
    answers = served(store).predict(pixels)
    assert list(answers) == list("0123456789")
    with torch.no_grad():
        expected = net(inputs).double().softmax(1)
    torch.testing.assert_close(torch.tensor(answers.to_numpy()), expected, rtol=1e-4, atol=1e-5)
    assert served(store).input_example.shape == (1, 1, 8, 8)


def load_clips(folder: Path) -> TrialData:
    """The longer a clip, the later its row, as batches have them in that order."""
    random, names = np.random.default_rng(0), [f"{row}.wav" for row in range(12)]
    for row, name in enumerate(names):
        heard = tone(400 + 100 * (row % 2), 0.1 + row / 50)
        write_wav(folder / name, heard / 2 + random.uniform(-0.2, 0.2, len(heard)))
    write_table(
        folder / "clips.csv",
        {"file": names, "pitch": ["low", "high"] * 6, "part": (["train"] * 2 + ["val"]) * 4},
    )
    return load_data(
        DataConfig(
            name="audio",
            validation={"column": "part", "value": "val"},  # type: ignore[arg-type]
            params={
                "path": str(folder / "clips.csv"),
                "target": "pitch",
                "sample_rate": 8000,
                "max_seconds": 0.25,
            },
        ),
        cache_dir=folder / "cache",
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )


def read_wav(path: Path) -> list[float]:
    with wave.open(str(path), "rb") as file:
        content = file.readframes(file.getnframes())
    return [value / 2**15 for value in np.frombuffer(content, "<i2").tolist()]


@pytest.mark.parametrize(
    ("architecture", "params"),
    [("cnn", {"depth": 1, "channels": 4}), ("rnn", {"width": 8}), ("transformer", {"width": 8})],
)
def test_clips_are_taken_as_waveforms(
    store: Store, folder: Path, architecture: str, params: Mapping[str, Any]
) -> None:
    data = load_clips(folder)
    [net] = log(store, data, architecture=architecture, params=params)
    waves = [read_wav(folder / f"{row}.wav") for row in (2, 5, 8, 11)]
    model = served(store)
    answers = model.predict(pd.DataFrame({"waveform": waves}))
    assert list(answers) == ["high", "low"]
    expected = outputs(net, data).softmax(1)
    torch.testing.assert_close(torch.tensor(answers.to_numpy()), expected, rtol=1e-4, atol=1e-4)
    arrays = pd.DataFrame({"waveform": [np.array(samples) for samples in waves[:1]]})
    pd.testing.assert_frame_equal(model.predict(arrays), answers.iloc[:1], rtol=1e-4)
    assert model.predict(model.input_example).shape == (1, 2)
    with pytest.raises(ValueError, match="waveform in row 2 is silence alone"):
        model.predict(pd.DataFrame({"waveform": [[0.1], [0.0, 0.0]]}))
    with pytest.raises(ValueError, match="row 1 has whole numbers; .* divide those of 16 bits"):
        model.predict(pd.DataFrame({"waveform": [np.array([0, 900, -20000], np.int16)]}))


@pytest.mark.parametrize("size", [None, (4, 5)])
def test_pictures_of_ones_own_are_taken_as_files_hold_them(
    store: Store, folder: Path, size: tuple[int, int] | None
) -> None:
    write_pictures(folder / "pictures")
    params = {"path": str(folder / "pictures"), "target": "label"}
    data = load_data(
        DataConfig(name="images", params=params | ({"size": size} if size else {})),
        cache_dir=folder / "cache",
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=2**30,
    )
    [net] = log(store, data, architecture="mlp", params={"depth": 1, "width": 8})
    model = served(store)
    files = [path.read_bytes() for path in sorted((folder / "pictures").rglob("*.png"))]
    answers = model.predict(pd.DataFrame({"picture": files}))
    assert list(answers) == ["cat", "dog"]
    expected = outputs(net, data).softmax(1)
    for chances in expected:
        assert np.isclose(answers.to_numpy(), chances.numpy(), rtol=1e-5).all(1).sum() == 1
    assert model.predict(model.input_example).shape == (1, 2)
    with pytest.raises(ValueError, match="picture in row 2 is no picture that Pillow knows"):
        model.predict(pd.DataFrame({"picture": [files[0], b"GIF"]}))
    larger = io.BytesIO()
    picture("cat", 0, (12, 16)).save(larger, "PNG")
    if size is None:
        with pytest.raises(ValueError, match="in row 1 is 12 x 16; wanted is 6 x 8"):
            model.predict(pd.DataFrame({"picture": [larger.getvalue()]}))
    else:
        assert model.predict(pd.DataFrame({"picture": [larger.getvalue()]})).shape == (1, 2)
