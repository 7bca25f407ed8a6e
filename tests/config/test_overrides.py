"""What a command line lays over a study file."""

from pathlib import Path
from typing import Any

import pytest

import sweeper
from sweeper.config.overrides import apply_overrides, name_override
from sweeper.config.problems import Problems
from sweeper.config.ranges import FloatRange
from sweeper.config.reader import load_study
from sweeper.config.yaml_source import load_source
from sweeper.errors import SpecError

FILE = """\
data: {name: digits}
model:
  architecture: {choices: {mlp: {depth: 1, width: 8}, cnn: {}}}
  dropout: {choices: [0.1, 0.2]}
train: {epochs: 3, learning_rate: 0.1}
cluster:
"""
FORM = "must be KEY=VALUE, such as train.epochs=3, or ~KEY, which drops a key"
WHOLE = "which has no keys; set it as a whole"
ABSENT = "is not there, so it cannot be dropped"


def laid_over(*overrides: str) -> Any:
    problems = Problems()
    top = load_source(FILE, "s.yaml", problems)
    assert top is not None
    top = apply_overrides(top, overrides, problems)
    problems.raise_if_any()
    return top.plain()


def refusals(*overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        laid_over(*overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=9", "train.epochs", 9),
        ("budget.trials=5", "budget.trials", 5),
        ("cluster.jobs=2", "cluster.jobs", 2),
        ("train.learning_rate=1e-4", "train.learning_rate", 1e-4),
        ("train.learning_rate='1e-4'", "train.learning_rate", "1e-4"),
        ('data.name="1"', "data.name", "1"),
        ("train.clip_grad_norm=", "train.clip_grad_norm", None),
        ("train.clip_grad_norm=null", "train.clip_grad_norm", None),
        ("data.name=a=b: c", "data.name", {"a=b": "c"}),
        ("data.name=a=b", "data.name", "a=b"),
        ("train.betas=[0.9, 0.99]", "train.betas", [0.9, 0.99]),
        ("train.learning_rate={low: 1, high: 2}", "train.learning_rate", {"low": 1, "high": 2}),
        ("model.dropout={low: 0, high: 0.5}", "model.dropout", {"low": 0, "high": 0.5}),
        ("model.dropout.choices=[0.5]", "model.dropout.choices", [0.5]),
        ("model.architecture.mlp.depth=2", "model.architecture.choices.mlp.depth", 2),
        ("model.architecture.cnn.depth=2", "model.architecture.choices.cnn.depth", 2),
        ("model.architecture=mlp", "model.architecture", "mlp"),
        ("train=3", "train", 3),
        ("train.net.width=3", "train.net", {"width": 3}),
        ("train={epochs: 4}", "train", {"epochs": 4, "learning_rate": 0.1}),
        ("train=", "train", None),
    ],
)
def test_a_value_is_set_and_all_else_stays(override: str, path: str, value: object) -> None:
    found = laid_over(override)
    expected = laid_over()
    *above, last = path.split(".")
    inner = expected
    for key in above:
        inner[key] = inner.get(key) or {}
        inner = inner[key]
    inner[last] = value
    assert found == expected


def test_a_key_is_dropped() -> None:
    assert laid_over("~train.epochs", "~model.architecture.mlp", "~cluster") == {
        "data": {"name": "digits"},
        "model": {"architecture": {"choices": {"cnn": {}}}, "dropout": {"choices": [0.1, 0.2]}},
        "train": {"learning_rate": 0.1},
    }


def test_they_are_laid_over_each_other_in_their_order() -> None:
    assert laid_over("train.epochs=4", "train={epochs: 5}")["train"]["epochs"] == 5
    assert laid_over("train={epochs: 5}", "train.epochs=4")["train"]["epochs"] == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", f"'epochs': {FORM}"),
        ("", f"'': {FORM}"),
        ("=3", f"'=3': {FORM}"),
        ("a..b=3", f"'a..b=3': {FORM}"),
        ("~a=3", f"'~a=3': {FORM}"),
        ("a=1\n2", r"'a=1\n2': must be one line of printable text"),
        ("a.\x1b[2J=1", r"'a.\x1b[2J=1': must be one line of printable text"),
        ("a." * 50 + "c=1", f"'{'a.' * 38}...: nested too deep"),
        ("defaults=[x.yaml]", "'defaults=[x.yaml]': must stand in a file"),
        (
            "storage=postgresql://ann:secret@host/db",
            "'storage=postgresql://***@host/db': holds a password, which every user of a "
            "machine sees in a command line; write it into the file, or better into the "
            "environment",
        ),
        (
            "train.x={a: [1}",
            "train.x: not valid YAML: while parsing a flow sequence, expected ',' or ']', but "
            "got '}'",
        ),
        ("train.x={a: 1, a: 2}", "train.x.a: given twice; keep one"),
        ("train.epochs.x=1", f"train.epochs.x: train.epochs is 3, {WHOLE}"),
        ("data.name.0=1", f"data.name.0: data.name is a list, {WHOLE}"),
        (
            "model.architecture.mpl.depth=1",
            "model.architecture.mpl.depth: model.architecture has no branch 'mpl'; did you mean "
            "'mlp'?",
        ),
        (
            "model.dropout.x=1",
            "model.dropout.x: model.dropout has no branch 'x'; set it as a whole",
        ),
        ("~train.epoch", f"train.epoch: {ABSENT}; did you mean 'epochs'?"),
        ("~run.workers", f"run.workers: {ABSENT}"),
    ],
)
def test_what_cannot_be_laid_over_it_is_told(override: str, message: str) -> None:
    assert refusals("data.name=[digits]", override) == [f"command line: {message}"]


def test_all_mistakes_come_at_once() -> None:
    assert refusals("train.epochs=1", "x", "train.epochs=2", "~train.epochs", "train.y=}") == [
        f"command line: 'x': {FORM}",
        "command line: train.epochs: given twice; keep one",
        "command line: train.y: not valid YAML: while parsing a block node, expected the node "
        "content, but found '}'",
    ]


def test_they_are_checked_like_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(FILE.replace("cluster:\n", "seeed: 1\n"))
    overrides = ["train.epoch=3", "train.l1={low: 2, high: 1}", "run=3", "model.architecture=mpl"]
    with pytest.raises(SpecError) as caught:
        load_study(path, overrides)
    assert str(caught.value).splitlines() == [
        f"{path}:6: seeed: unknown key; did you mean 'seed'?",
        "command line: model.architecture: unknown architecture 'mpl'; did you mean 'mlp'?",
        "command line: train.epoch: unknown key; did you mean 'epochs'?",
        "command line: train.l1: low must be < high, got low=2.0 high=1.0",
        "command line: run: must be a mapping of workers, workers_per_device, gpus_per_trial, "
        "lanes, pack, device, precision, object_store, got 3",
    ]


def test_the_study_knows_what_was_laid_over_it(tmp_path: Path) -> None:
    path = tmp_path / "my study.yaml"
    path.write_text(FILE.replace("cluster:\n", ""))
    overrides = ["train.learning_rate={low: 1e-4, high: 1}", "~model.dropout", name_override("b")]
    spec = load_study(path, overrides)
    assert spec.name == "b"
    assert spec.ranges()["train.learning_rate"] == FloatRange(1e-4, 1.0)
    assert "dropout" not in spec.sections["model"]
    assert spec.place("train.learning_rate") == "command line: train.learning_rate"
    assert spec.place("train.epochs") == f"{path}:5: train.epochs"
    assert spec.command("run", "--debug") == (
        f"sweeper run --debug '{path}' 'train.learning_rate={{low: 1e-4, high: 1}}' "
        "'~model.dropout' name=b"
    )


@pytest.mark.parametrize("name", ["a", "1e-4", "true", "a #b", 'a"b', "ü", ""])
def test_a_name_is_never_taken_for_anything_else(name: str) -> None:
    assert laid_over(name_override(name))["name"] == name


def test_from_python_they_are_called_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("data: {name: digits}\nmodel: {architecture: mlp}")
    assert sweeper.load(path, ["name=other"]).name == "other"
    with pytest.raises(SpecError, match=r"^overrides: train\.epochs: must be"):
        sweeper.load(path, ["train.epochs=0"])
