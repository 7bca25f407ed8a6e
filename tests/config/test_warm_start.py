"""The section ``warm_start`` of a study file: what it may say, and what is said of the rest."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config.reader import parse_study
from sweeper.config.render import render_study
from sweeper.config.warm_start import WarmStartSpec
from sweeper.errors import SpecError
from tests.support.sweep_studies import plain_study, spec_of

BRANCHES = {"choices": {"mlp": {"depth": 2}, "cnn": {"channels": {"choices": [4, 8]}}}}


@pytest.mark.parametrize(
    ("section", "read"),
    [
        ({"from": "earlier"}, WarmStartSpec(study="earlier")),
        ({"from": "studies/earlier.yaml"}, WarmStartSpec(study="studies/earlier.yaml")),
        ({"from": {"mlflow": "an experiment"}}, WarmStartSpec(experiment="an experiment")),
        (
            {
                "from": "earlier",
                "rename": {"train.lr": "train.learning_rate", "acc": "val_accuracy"},
            },
            WarmStartSpec(
                study="earlier", rename={"train.lr": "train.learning_rate", "acc": "val_accuracy"}
            ),
        ),
        (None, None),
    ],
)
def test_a_study_or_an_experiment_and_names(
    tmp_path: Path, section: Any, read: WarmStartSpec | None
) -> None:
    spec = spec_of(tmp_path, warm_start=section)
    assert spec.warm_start == read
    assert parse_study(render_study(spec), tmp_path / "small.yaml").warm_start == read


@pytest.mark.parametrize(("named", "is_path"), [("a.b", False), ("a/b", True), ("b.yml", True)])
def test_a_path_is_told_from_a_name(named: str, is_path: bool) -> None:
    assert WarmStartSpec(study=named).is_path == is_path


@pytest.mark.parametrize("new", ["model.architecture", "model.architecture.mlp.depth",
                                 "model.architecture.cnn.channels", "train.weight_decay",
                                 "train.learning_rate", "val_accuracy"])  # fmt: skip
def test_a_new_name_is_a_range_a_constant_a_default_or_the_metric(
    tmp_path: Path, new: str
) -> None:
    if new == "train.weight_decay":
        new = "train.momentum"  # that has a default
    section = {"from": "earlier", "rename": {"x": new}}
    assert spec_of(tmp_path, model={"architecture": BRANCHES}, warm_start=section).warm_start


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("earlier", "warm_start: must be a mapping such as {from: other-study}, got 'earlier'"),
        ({"rename": {}}, "warm_start.from: is required: the name of a study"),
        ({"from": 3}, "warm_start.from: must be a string, got 3; put it in quotes"),
        ({"from": ""}, "warm_start.from: must be the name of a study, a path of its file, or"),
        ({"from": ["a"]}, "warm_start.from: must be one value, got a list"),
        ({"from": {}}, "warm_start.from: must be the name of a study, a path of its file, or"),
        ({"from": {"mlfow": "x"}}, "warm_start.from.mlfow: unknown key; did you mean 'mlflow'?"),
        ({"from": "no study"}, "warm_start.from: must be up to 100 letters, digits, '.', '_' or"),
        ({"from": "x", "names": {}}, "warm_start.names: unknown key; did you mean 'rename'?"),
        ({"from": "x", "rename": ["a"]}, "warm_start.rename: must be a mapping of names there"),
        (
            {"from": "x", "rename": {"lr": "train.learningrate"}},
            "warm_start.rename.lr: 'train.learningrate' is neither a setting of this file nor its "
            "metric; did you mean 'train.learning_rate'?",
        ),
        (
            {"from": "x", "rename": {"a": "train.epochs", "b": "train.epochs"}},
            "warm_start.rename.b: 'train.epochs' is given to several names there; keep one",
        ),
        ({"from": "small"}, "warm_start.from: is this study itself; name the earlier one"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, section: Any, said: str) -> None:
    text = yaml.safe_dump(plain_study(warm_start=section), sort_keys=False)
    with pytest.raises(SpecError) as caught:
        parse_study(text, tmp_path / "small.yaml")
    lines = text.splitlines()
    first = 1 + next(at for at, line in enumerate(lines) if line.startswith("warm_start"))
    told = [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]
    [found] = [line for line in told if said in line]
    assert first <= int(found.split(":")[1]) <= len(lines)
