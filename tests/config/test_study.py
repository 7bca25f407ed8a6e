"""What a valid study file means."""

from pathlib import Path

import pytest

from sweeper.config.ranges import Choices, FloatRange, IntRange
from sweeper.config.reader import load_study, parse_study
from sweeper.trial import Objective
from tests.support.spec_files import BASE, STUDIES, study


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_study_that_comes_along_is_valid(path: Path) -> None:
    assert load_study(path).path == path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l1: {low: 0, high: 1}", FloatRange(0.0, 1.0)),
        ("l1: {low: 1e-7, high: 1e-3, log: true}", FloatRange(1e-7, 1e-3, log=True)),
        ("l1: {low: 0, high: 0.3, step: 0.1}", FloatRange(0.0, 0.3, step=0.1)),
        ("epochs: {low: 1, high: 9}", IntRange(1, 9)),
        ("epochs: {low: 1, high: 9, step: 4}", IntRange(1, 9, step=4)),
        ("epochs: {low: 1, high: 9, log: true}", IntRange(1, 9, log=True)),
        ("patience: {choices: [null, 3]}", Choices((None, 3))),
        ("l1: {choices: [0, 1e-4]}", Choices((0.0, 1e-4))),
        ("epochs: {choices: {3: {l1: 1}, 9: }}", Choices((3, 9), {"3": {"l1": 1.0}, "9": {}})),
        (
            "nesterov: {choices: {true: {momentum: 0.5}, false: {}}}",
            Choices((True, False), {"true": {"momentum": 0.5}, "false": {}}),
        ),
    ],
)
def test_a_range_takes_the_type_of_the_constant_it_stands_for(text: str, expected: object) -> None:
    (values,) = study(BASE + f"train: {{{text}}}").ranges().values()
    assert values == expected
    low = getattr(values, "low", None)
    assert type(low) is type(getattr(expected, "low", None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{low: 1, high: 3}", IntRange(1, 3)),
        ("{low: 1, high: 3, step: 0.5}", FloatRange(1.0, 3.0, step=0.5)),
        ("{low: 1, high: 2.5}", FloatRange(1.0, 2.5)),
        ("{choices: [relu, 2, true, null]}", Choices(("relu", 2, True, None))),
    ],
)
def test_for_the_users_own_code_the_values_tell_the_type(text: str, expected: object) -> None:
    spec = study(f"data: {{name: 'my:load', a: {{b: {text}}}}}\nmodel: {{architecture: mlp}}")
    assert spec.ranges() == {"data.a.b": expected}


def test_what_a_file_leaves_out() -> None:
    spec = parse_study(BASE, Path("studies/first.v2.yaml"))
    assert spec.name == "first.v2"
    assert spec.objective == Objective(("val_accuracy",), ("maximize",))
    assert (spec.sampler.name, spec.pruner.name, spec.storage, spec.seed) == (
        "auto", "asha", "auto", 0,
    )  # fmt: skip
    assert spec.sections["train"] == {}
    assert spec.n_trials == 1
    assert study(BASE + "train: {l1: {choices: [0, 1]}}").n_trials == 50


def test_several_metrics_are_not_pruned_by_default() -> None:
    spec = study(BASE + "objective: {metric: [val_loss, val_accuracy]}")
    assert spec.objective == Objective(("val_loss", "val_accuracy"), ("minimize", "maximize"))
    assert spec.pruner.name == "none"


def test_a_function_of_the_users_own_needs_no_data_and_reports_what_it_likes() -> None:
    spec = study(
        "objective: {metric: reward, direction: maximize}\n"
        "train: {function: 'my.code:run', optimizer: lion, epochs: many, nested: {lr: 1e-3}}"
    )
    assert spec.sections == {
        "train": {
            "function": "my.code:run",
            "optimizer": "lion",
            "epochs": "many",
            "nested": {"lr": 1e-3},
        }
    }


def test_branches_count_by_their_dotted_names() -> None:
    spec = study(
        "data: {name: digits}\nmodel:\n  architecture:\n    choices:\n"
        "      mlp: {depth: {low: 1, high: 3}}\n      resnet18:\n"
    )
    assert list(spec.ranges()) == ["model.architecture", "model.architecture.mlp.depth"]
    assert spec.place("model.architecture.mlp.depth") == "s.yaml:5: model.architecture.mlp.depth"


def test_a_message_about_an_absent_value_names_the_nearest_line() -> None:
    assert study(BASE).place("model.depth") == "s.yaml:2: model.depth"
    assert study(BASE).place("budget.trials") == "s.yaml:1: budget.trials"
