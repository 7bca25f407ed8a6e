from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.config.from_python import study_from_mapping
from sweeper.config.problems import Problems
from sweeper.config.ranges import Choices, FloatRange
from sweeper.config.reader import load_study, parse_study
from sweeper.config.render import render_study
from sweeper.config.yaml_source import load_source
from sweeper.errors import SpecError
from tests.support.spec_files import STUDIES

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {"name": "digits"},
    "model": {"architecture": "mlp"},
}


def build(input_shape: tuple[int, ...], n_outputs: int) -> torch.nn.Module:
    return torch.nn.Linear(input_shape[0], n_outputs)


def made_here() -> Callable[..., Any]:
    def load() -> None:
        pass

    return load


def refused(**keys: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        study_from_mapping(keys)
    return str(caught.value).splitlines()


def test_a_study_is_the_one_that_a_file_of_the_same_keys_is() -> None:
    train = {"epochs": 3, "learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}
    spec, functions = study_from_mapping({**SMALL, "train": train})
    text = """
name: small
data: {name: digits}
model: {architecture: mlp}
train: {epochs: 3, learning_rate: {low: 1e-4, high: 0.1, log: true}}
"""
    assert spec == parse_study(text, Path("small"))
    assert functions == {}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_file_is_the_same_study_from_python(path: Path) -> None:
    read = load_study(path)
    source = load_source(path.read_text(encoding="utf-8"), str(path), Problems())
    assert source is not None
    given, _ = study_from_mapping({"name": read.name, **source.plain()})
    assert replace(given, path=path) == read


def test_values_that_python_has_and_a_file_has_not_stand_for_what_it_has() -> None:
    spec, _ = study_from_mapping(
        {
            **SMALL,
            "data": {"name": "digits", "batch_size": {"choices": tuple(np.array([32, 64]))}},
            "model": {"architecture": "mlp", "width": {"choices": {64: {"depth": 2}, 8: {}}}},
            "train": {
                "learning_rate": {"low": np.float64(0.5), "high": np.float32(1)},
                "l2": Fraction(1, 4),
            },
            "storage": Path("auto"),
            "seed": np.int64(3),
        }
    )
    assert spec.sections["data"]["batch_size"] == Choices((32, 64))
    assert spec.sections["model"]["width"] == Choices((64, 8), {"64": {"depth": 2}, "8": {}})
    assert spec.sections["train"] == {"learning_rate": FloatRange(0.5, 1.0), "l2": 0.25}
    assert (spec.seed, spec.storage) == (3, "auto")
    assert render_study(parse_study(render_study(spec), Path("small"))) == render_study(spec)


def test_a_function_is_named_by_its_module_or_held_if_it_has_none() -> None:
    load = made_here()
    spec, functions = study_from_mapping(
        {
            "name": "own",
            "data": {"name": load},
            "model": {"architecture": {"choices": {build: {}, "mlp": {"depth": 1}}}},
            "train": {"optimizer": {"choices": ["sgd", torch.optim.NAdam]}},
        }
    )
    assert spec.sections["data"]["name"] == "__main__:load"
    assert spec.ranges()["model.architecture"].options == (f"{__name__}:build", "mlp")
    assert spec.ranges()["train.optimizer"].options == ("sgd", "torch.optim.nadam:NAdam")
    assert {name: held.function for name, held in functions.items()} == {"__main__:load": load}


def test_all_problems_are_told_at_once_and_where_they_come_from() -> None:
    deep: dict[str, Any] = {}
    deep["again"] = deep
    lines = refused(
        data={"name": "digit", "root": deep},
        model={"architecture": lambda: None, "width": torch.relu, "depth": {1}},
        train={"epoch": 1, "learning_rate": float("nan"), 3: 1, "loss": "\0"},
        bugdet={"trials": 3},
        forbid=[{"": 1}],
    )
    assert all(line.startswith("the study: ") for line in lines)
    told = "\n".join(lines)
    for part in (
        "name: is required, as in name='mnist'",
        "data.name: unknown data set 'digit'; did you mean 'digits'?",
        "again: is nested too deep",
        "model.architecture: has no name to refer to it by; give it one with `def`",
        "model.width: no function can stand here, but for data.name, ",
        "model.depth: must be a number, a text, a list or a mapping, got set {1}",
        "train.epoch: unknown key; did you mean 'epochs'?",
        "train.learning_rate: must be greater than 0, got nan",
        "train.3: unknown key",
        r"train.loss: a text may hold neither \0 nor",
        "bugdet: unknown key; did you mean 'budget'?",
        "forbid[0]: a key must be a word, got ''",
    ):
        assert part in told


def test_two_functions_of_one_name_are_told_apart_by_nobody() -> None:
    first, second = made_here(), made_here()
    [line] = refused(
        name="own",
        data={"name": first, "transform": second},
        model={"architecture": "mlp"},
    )
    assert line == "the study: data.transform: two functions are called load; rename one"


def test_keys_that_a_file_would_hold_twice_are_given_twice() -> None:
    model = {"architecture": "mlp", "width": {"choices": {8: {}, "8": {}}}}
    assert refused(**{**SMALL, "model": model}) == [
        "the study: model.width.choices.8: given twice; keep one"
    ]
