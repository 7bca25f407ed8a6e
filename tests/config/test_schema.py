"""The JSON Schema lets every valid file pass and stops the commonest mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sweeper.config.problems import Problems
from sweeper.config.schema import study_keys, study_schema
from sweeper.config.yaml_source import load_source
from tests.support.spec_files import BASE, STUDIES, study

SCHEMA = Draft202012Validator(study_schema())


def faults(text: str) -> list[str]:
    top = load_source(text, "s.yaml", Problems())
    assert top is not None
    return [error.message for error in SCHEMA.iter_errors(top.plain())]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(study_schema())


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_that_comes_along_passes(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        BASE + "train:\nforbid:\nenqueue: []",
        BASE + "budget: {trials: 3, timeout: 1h30m}\nrun: {workers: 2, device: 'cuda:1'}",
        BASE + "objective: {metric: [val_loss, val_accuracy], direction: [minimize, maximize]}",
        BASE + "train: {l1: {low: 0, high: 1, step: }, optimizer: {choices: {sgd: , adam: {}}}}",
        BASE + "train: {patience: null, clip_grad_norm: {choices: [null, 1]}}",
        "train: {function: 'a:b', epochs: many, optimizer: [lion], x: {y: {low: 1, high: 2}}}",
        "train: {function: 'a:b', mlflow: trial}\nrun: {gpus_per_trial: 2}",
        "train: {command: t, epochs: many, lr: {low: 1, high: 2}, report: {val_accuracy: (.)}, "
        "args: auto, resume: [a, b]}",
        "train: {command: [t, a], metrics: '${trial.checkpoint}/a.csv'}",
        "data: {name: 'a:b', size: big}\nmodel: {architecture: 'a:b', depth: [1, 2]}",
        "data: {name: digits, size: 28}\nmodel: {architecture: {choices: [mlp, 'a:b']}, depth: 2}",
        "data: {name: digits}\nmodel: {architecture: resnet18, zero_init_residual: true}",
        "data: {name: digits}\nmodel: {architecture: {choices: {cnn: {depth: 2}, mlp: }}}",
        "data: {name: digits}\nmodel: {architecture: mlp, depth: 12}",
        BASE + "objective: {metric: [val_loss, train_loss]}",
    ],
)
def test_what_check_accepts_passes(text: str) -> None:
    study(text)
    assert faults(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "name: 7",
        "model: {}",
        "data: {name: digits, batch: 3}",
        "data: {name: 'a:b', validation: 1.5}",
        "model: {architecture: mlp, depth: deep}",
        "model: {architecture: mlp, depth: -1}",
        "objective: {direction: up}",
        "model: {architecture: {choices: [mlp, cnn]}, widht: 3}",
        "train: {epoch: 3}",
        "train: {mlflow: trial}",
        "train: {function: 'a:b', mlflow: run}",
        "run: {gpus_per_trial: 0}",
        "train: {epochs: 0}",
        "train: {command: 3}",
        "train: {command: t, args: all}",
        "train: {command: t, report: {loss: 3}}",
        "train: {l1: {low: 1}}",
        "train: {l1: {choices: []}}",
        "train: {optimizer: [sgd, adam]}",
        "pruner: {name: nop}",
        "run: {device: gpu}",
        "forbid: {train.l1: 1}",
        "colour: red",
    ],
)
def test_a_mistake_is_seen_in_the_editor(text: str) -> None:
    assert faults(text) != []


def test_a_file_that_builds_on_another_may_hold_the_rest_of_a_section() -> None:
    base = "defaults: [base.yaml]\n"
    rest = "data: {size: big}\nmodel: {depth: 2}\ntrain: {own: 3}\nrun:\nbudget: {trials: 3}"
    assert faults(base + rest) == []
    assert faults(rest) != []
    for mistake in ("run: {device: gpu}", "colour: red", "model: mlp"):
        assert faults(base + mistake) != []
    assert faults("defaults: base.yaml") != []


def test_every_key_says_what_it_means_and_its_default() -> None:
    run = study_keys()["run"]["properties"]
    assert run["precision"]["default"] == "fp32"
    assert run["device"]["description"] == "Where trials are trained"
    depth = study_keys()["model"]["then"]["properties"]["depth"]["anyOf"]
    assert [meaning["description"].partition(":")[0] for meaning in depth[:2]] == ["mlp", "cnn"]


def test_check_prints_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "check", "--schema"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == study_schema()
