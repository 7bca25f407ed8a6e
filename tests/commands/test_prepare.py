from pathlib import Path
from typing import Any

import pytest
import torchvision

from sweeper.commands.prepare import PreparedStudy, prepare_study
from sweeper.config.reader import parse_study
from sweeper.config.render import render_study
from sweeper.config.study import StudySpec
from sweeper.errors import DataError, SpecError, TrainingError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from tests.support.sweep_studies import spec_of


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without files and without a network; where it would look for them."""
    files = tmp_path / "files"
    files.mkdir()
    monkeypatch.setenv("SWEEPER_DATA", str(files))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    return files


def prepare(folder: Path, **data: Any) -> tuple[StudySpec, PreparedStudy, list[str]]:
    spec = spec_of(folder, data=data)
    notes: list[str] = []
    return spec, prepare_study(spec, folder / "mlruns", notes.append), notes


def test_data_that_are_at_hand_leave_the_study_as_it_is(tmp_path: Path) -> None:
    spec, prepared, notes = prepare(tmp_path, name="digits")
    assert prepared.spec is spec
    assert prepared.data_label == "digits"
    assert notes == []
    assert any((tmp_path / "mlruns" / "cache").iterdir())


def test_a_training_function_may_bring_its_own_data(tmp_path: Path) -> None:
    (tmp_path / "brings_data.py").write_text("def run(params, trial): ...\n")
    text = "objective: {metric: s, direction: maximize}\ntrain: {function: 'brings_data:run'}\n"
    spec = parse_study(text, tmp_path / "own.yaml")
    notes: list[str] = []
    prepared = prepare_study(spec, tmp_path / "mlruns", notes.append)
    assert (prepared.spec, prepared.data_label, notes) == (spec, "", [])
    assert not (tmp_path / "mlruns").exists()


def test_absent_data_stop_the_study_with_what_was_tried(tmp_path: Path, no_data: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, name="mnist")
    first, looked, reason, ways_out = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/small.yaml:")
    assert first.count("data.name") == 1
    assert first.endswith("data.name: the data set 'mnist' is not to be had")
    assert looked.startswith(f"  looked in {no_data}/MNIST/raw")
    assert "Connection refused" in reason
    assert "data.fallback: digits" in ways_out


def test_the_fallback_is_taken_loudly_and_under_another_name(
    tmp_path: Path, no_data: Path
) -> None:
    spec, prepared, notes = prepare(
        tmp_path,
        name="mnist",
        fallback="digits",
        validation=0.25,
        batch_size={"choices": [32, 64]},
    )
    assert prepared.spec.name == "small-on-digits"
    assert prepared.data_label == "mnist-on-digits"
    [note] = notes
    lines = note.splitlines()
    assert "WARNING: " in lines[0]
    assert "the data set 'mnist' is not to be had" in lines[0]
    assert lines[-1] == (
        "WARNING: training on digits instead, as data.fallback says; study and MLflow experiment "
        "are named small-on-digits, and its figures say nothing about mnist"
    )
    section = prepared.spec.sections["data"]
    assert (section["name"], section["size"], section["validation"]) == ("digits", 28, 0.25)
    assert section["batch_size"] == spec.sections["data"]["batch_size"]
    assert prepared.spec.sections["train"] == spec.sections["train"]


def test_the_resolved_file_of_a_fallback_reads_back_as_it(tmp_path: Path, no_data: Path) -> None:
    _, prepared, _ = prepare(tmp_path, name="mnist", fallback="digits")
    again = parse_study(render_study(prepared.spec), prepared.spec.path)
    assert again.name == "small-on-digits"
    assert again.sections["data"]["name"] == "digits"
    paths = RunPaths(tmp_path / "mlruns", again.name)
    create_study(prepared.spec, paths)
    create_study(again, paths)  # raises if the two would not compare


def test_a_fallback_that_is_not_needed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, prepared, notes = prepare(tmp_path, name="digits", fallback="digits")
    assert (prepared.spec.name, prepared.data_label, notes) == (spec.name, "digits", [])


def test_a_typo_in_the_name_of_own_code_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def run(params, trial): ...\n")
    file = tmp_path / "study.yaml"
    text = "objective: {metric: score, direction: maximize}\ntrain: {function: 'mine:rnu'}\n"
    with pytest.raises(SpecError, match=r"study.yaml:2: train.function: cannot import 'rnu' from"):
        prepare_study(parse_study(text, file), tmp_path / "mlruns", print)


def test_a_fallback_has_no_columns_to_hold_rows_out_by(tmp_path: Path) -> None:
    _, prepared, _ = prepare(
        tmp_path,
        name="table",
        path="absent.csv",
        target="y",
        validation={"by": "who"},
        fallback="digits",
    )
    assert "validation" not in prepared.spec.sections["data"]


def test_weights_that_are_not_to_be_had_stop_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    entry = torchvision.models.get_model_weights("resnet18")["DEFAULT"]
    monkeypatch.setattr(entry.value, "url", "http://127.0.0.1:1/small-0123abcd.pth")
    spec = parse_study(
        "data: {name: digits}\n"
        "model:\n"
        "  architecture: {choices: {mlp: , resnet18: {weights: {choices: [none, DEFAULT]}}}}\n",
        tmp_path / "sweep.yaml",
    )
    with pytest.raises(TrainingError) as caught:
        prepare_study(spec, tmp_path / "mlruns", print)
    place, _, rest = str(caught.value).partition(": DEFAULT of resnet18 is not to be had: ")
    assert place == f"{tmp_path / 'sweep.yaml'}:2: model.weights"
    assert f"put it at {tmp_path / 'home/hub/checkpoints/small-0123abcd.pth'}" in rest
