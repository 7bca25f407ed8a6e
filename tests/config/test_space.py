"""Ranges and something that suggests -> the settings of one trial, and whole grids of them."""

from collections.abc import Mapping

import pytest

from sweeper.config.ranges import Range
from sweeper.config.settings import DataConfig, FunctionConfig, ModelConfig, Scalar, TrainConfig
from sweeper.config.space import Suggest, first_value, grid_points, is_forbidden, suggest_config
from sweeper.config.study import StudySpec
from tests.support.spec_files import study

BRANCHED = study(
    """\
data: {name: digits, batch_size: {choices: [32, 64]}}
model:
  dropout: {low: 0, high: 0.5}
  activation: tanh
  architecture:
    choices:
      mlp: {depth: {low: 1, high: 3}, dropout: 0.1}
      cnn: {depth: 2, channels: {choices: [8, 16]}}
train:
  momentum: {low: 0.5, high: 0.9}
  optimizer: {choices: {sgd: {momentum: {choices: [0, 0.99]}, nesterov: true}, adamw: }}
  epochs: 3
"""
)


def drawing(values: Mapping[str, Scalar], drawn: list[str] | None = None) -> Suggest:
    """The given values, by dotted name, else the first; names are noted as they are asked."""

    def suggest(name: str, span: Range) -> Scalar:
        if drawn is not None:
            drawn.append(name)
        return values.get(name, first_value(name, span))

    return suggest


def points(spec: StudySpec) -> list[dict[str, Scalar]]:
    return list(grid_points(spec))


def test_values_are_named_by_their_dotted_paths_and_defaults_are_among_them() -> None:
    config = suggest_config(BRANCHED, drawing({"train.optimizer": "adamw"}), seed=11)
    assert config.params == {
        "data.name": "digits",
        "data.validation": 0.1,
        "data.batch_size": 32,
        "model.architecture": "mlp",
        "model.architecture.mlp.depth": 1,
        "model.architecture.mlp.dropout": 0.1,
        "model.activation": "tanh",
        "train.momentum": 0.5,
        "train.optimizer": "adamw",
        "train.epochs": 3,
        "train.learning_rate": 1e-3,
        "train.nesterov": False,
        "train.l1": 0.0,
        "train.l2": 0.0,
        "train.schedule": "constant",
        "train.warmup_epochs": 0.0,
        "train.step_epochs": 3,
        "train.step_gamma": 0.1,
    }
    assert config.data == DataConfig(name="digits", batch_size=32)
    assert config.model == ModelConfig(
        architecture="mlp", params={"activation": "tanh", "depth": 1, "dropout": 0.1}
    )
    assert config.train == TrainConfig(epochs=3, optimizer="adamw", momentum=0.5)
    assert config.seed == 11


@pytest.mark.parametrize(
    ("chosen", "drawn"),
    [
        (
            {"model.architecture": "mlp", "train.optimizer": "sgd"},
            ["model.architecture.mlp.depth", "train.optimizer.sgd.momentum"],
        ),
        (
            {"model.architecture": "cnn", "train.optimizer": "adamw"},
            ["model.architecture.cnn.channels", "model.dropout", "train.momentum"],
        ),
    ],
)
def test_a_drawn_branch_replaces_the_key_beside_it_which_is_not_drawn(
    chosen: dict[str, Scalar], drawn: list[str]
) -> None:
    asked: list[str] = []
    suggest_config(BRANCHED, drawing(chosen, asked), seed=0)
    always = {"data.batch_size", "model.architecture", "train.optimizer"}
    assert set(asked) == always | set(drawn)
    assert len(asked) == len(set(asked))
    assert asked.index("model.architecture") < asked.index(drawn[0])


def test_what_a_branch_sets_reaches_the_builders() -> None:
    chosen: dict[str, Scalar] = {"model.architecture": "cnn", "train.optimizer.sgd.momentum": 0.99}
    config = suggest_config(BRANCHED, drawing(chosen), seed=0)
    assert config.model == ModelConfig(
        architecture="cnn",
        params={"dropout": 0.0, "activation": "tanh", "depth": 2, "channels": 8},
    )
    assert config.train == TrainConfig(epochs=3, optimizer="sgd", momentum=0.99, nesterov=True)
    assert config.params["train.optimizer.sgd.nesterov"] is True
    assert "train.momentum" not in config.params
    assert "train.nesterov" not in config.params


def test_the_users_own_code_takes_every_other_key_nested_as_it_was_written() -> None:
    spec = study(
        """\
data: {name: 'my:load', root: here, batch_size: 8, noise: {low: 0, high: 1}, kinds: [a, b]}
model:
  architecture: my.nets:build
  block: {depth: {low: 2, high: 5}, norm: {kind: {choices: {layer: {eps: 1e-5}, none: }}}}
train: {function: 'my:run', optimizer: lion, clip: {choices: [null, 1.0]}}
"""
    )
    config = suggest_config(spec, first_value, seed=0)
    assert config.data == DataConfig(
        name="my:load", root="here", batch_size=8, params={"noise": 0, "kinds": ["a", "b"]}
    )
    assert config.model == ModelConfig(
        architecture="my.nets:build",
        params={"block": {"depth": 2, "norm": {"kind": "layer", "eps": 1e-5}}},
    )
    assert config.train == FunctionConfig(
        function="my:run", params={"optimizer": "lion", "clip": None}
    )
    assert config.params == {
        "data.name": "my:load",
        "data.root": "here",
        "data.validation": 0.1,
        "data.batch_size": 8,
        "data.noise": 0,
        "data.kinds": "['a', 'b']",
        "model.architecture": "my.nets:build",
        "model.block.depth": 2,
        "model.block.norm.kind": "layer",
        "model.block.norm.kind.layer.eps": 1e-5,
        "train.function": "my:run",
        "train.optimizer": "lion",
        "train.clip": None,
    }


def test_a_function_may_come_without_data_and_model() -> None:
    config = suggest_config(study("train: {function: 'my:run', x: 1}"), first_value, seed=0)
    assert (config.data, config.model) == (None, None)
    assert config.train == FunctionConfig(function="my:run", params={"x": 1})


FORBIDDING = study(
    """\
data: {name: digits}
model: {architecture: mlp, activation: {choices: [relu, sigmoid]}, depth: {low: 1, high: 3}}
train: {optimizer: {choices: [sgd, adamw]}, momentum: {low: 0.1, high: 0.4, step: 0.1}}
forbid:
- {train.optimizer: sgd, model.activation: sigmoid}
- {model.depth: 2}
- {train.momentum: 0.3}
"""
)


@pytest.mark.parametrize(
    ("params", "is_out"),
    [
        ({"train.optimizer": "sgd", "model.activation": "sigmoid", "model.depth": 1}, True),
        ({"train.optimizer": "sgd", "model.activation": "relu", "model.depth": 1}, False),
        ({"train.optimizer": "sgd"}, False),
        ({"model.depth": 2}, True),
        ({"train.momentum": 0.1 + 2 * 0.1}, True),  # 0.30000000000000004
        ({"train.momentum": 0.31}, False),
        ({}, False),
    ],
)
def test_forbidden_is_what_has_all_values_of_a_combination(
    params: dict[str, Scalar], is_out: bool
) -> None:
    assert is_forbidden(FORBIDDING, params) is is_out


def test_a_grid_holds_every_allowed_point_once() -> None:
    # Activation and optimiser: 2 x 2 less sgd + sigmoid = 3; depth 1 and 3; momentum 3 of 4.
    found = points(FORBIDDING)
    assert len(found) == 3 * 2 * 3
    assert len({tuple(sorted(point.items())) for point in found}) == len(found)
    assert found[0] == {
        "model.activation": "relu",
        "model.depth": 1,
        "train.optimizer": "sgd",
        "train.momentum": 0.1,
    }


def test_a_grid_has_only_the_points_that_a_trial_could_draw() -> None:
    spec = study(
        """\
data: {name: digits}
model:
  architecture: {choices: {mlp: {depth: {low: 1, high: 5, step: 2}, dropout: 0}, cnn: }}
  dropout: {choices: [0, 0.5]}
train: {l1: {low: 0, high: 0.3, step: 0.1}}
"""
    )
    # mlp: depths 1, 3, 5 and its own dropout; cnn: two dropouts; each with four l1.
    found = points(spec)
    assert len(found) == (3 + 2) * 4
    assert sum("model.dropout" in point for point in found) == 2 * 4
    for point in found:
        drawn: list[str] = []
        suggest_config(spec, drawing(point, drawn), seed=0)
        assert drawn == list(point)
    assert [point["train.l1"] for point in found[:4]] == pytest.approx(
        [0, 0.1, 0.2, 0.3], abs=1e-12
    )


def test_grids_of_nothing_of_nested_keys_and_of_too_much() -> None:
    base = "data: {name: 'my:load', %s}\nmodel: {architecture: mlp}"
    assert points(study(base % "a: 1")) == [{}]
    assert points(study(base % "a: {b: {choices: [x, null]}, c: {low: 1, high: 2}}")) == [
        {"data.a.b": "x", "data.a.c": 1},
        {"data.a.b": "x", "data.a.c": 2},
        {"data.a.b": None, "data.a.c": 1},
        {"data.a.b": None, "data.a.c": 2},
    ]
    endless = grid_points(study(base % "a: {low: 0, high: 999999999999999999}"))
    assert [next(endless), next(endless)] == [{"data.a": 0}, {"data.a": 1}]
