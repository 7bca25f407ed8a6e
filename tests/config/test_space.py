"""Ranges and something that suggests -> the settings of one trial."""

import pytest

from sweeper.config.settings import DataConfig, FunctionConfig, ModelConfig, Scalar, TrainConfig
from sweeper.config.space import first_value, is_forbidden, most_epochs, suggest_config
from tests.support.spec_files import drawing, study

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
        "train.label_smoothing": 0.0,
        "train.class_weights": "none",
        "train.accumulate": 1,
        "train.ema": 0.0,
        "train.backbone_rate": 1.0,
        "train.random_crop": 0,
        "train.random_flip": False,
        "train.cutout": 0,
        "train.color_jitter": 0.0,
        "train.mask_time": 0,
        "train.mask_frequency": 0,
        "train.mixup": 0.0,
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


def test_zero_is_forbidden_also_as_a_step_between_a_number_and_its_negative() -> None:
    spec = study(
        "train: {function: 'my:run', x: {low: -0.3, high: 0.3, step: 0.1}}\n"
        "forbid: [{train.x: 0}, {train.x: 0.3}]"
    )
    at = [-0.3 + i * 0.1 for i in range(7)]
    assert 0 < at[3] < 1e-15  # not 0.0
    assert [is_forbidden(spec, {"train.x": x}) for x in at] == [i in (3, 6) for i in range(7)]


@pytest.mark.parametrize(
    ("train", "longest"),
    [
        ("{}", 10),
        ("{epochs: 7}", 7),
        ("{epochs: {low: 3, high: 12, step: 3}}", 12),
        ("{epochs: {choices: [5, 20, 10]}}", 20),
        ("{epochs: 4, optimizer: {choices: {sgd: {epochs: 30}, adamw: {}}}}", 30),
        ("{epochs: 40, optimizer: {choices: {sgd: {epochs: 30}, adamw: {}}}}", 40),
        # Each branch has its own, so that the default of 10 is nobody's.
        ("{optimizer: {choices: {sgd: {epochs: 3}, adamw: {epochs: {low: 2, high: 6}}}}}", 6),
        ("{optimizer: {choices: {sgd: {epochs: 3}, adamw: {schedule: {choices: "
         "{cosine: {epochs: 8}, step: {}}}}}}}", 10),
        ("{function: 'my:run'}", None),
        ("{function: 'my:run', epochs: {low: 5, high: 15}}", 15),
        ("{function: 'my:run', epochs: until it is good}", None),
        ("{function: 'my:run', epochs: {low: 0.5, high: 1.5}}", None),
        ("{function: {choices: {'my:run': {epochs: 5}, 'my:other': {}}}}", 5),
    ],
)  # fmt: skip
def test_the_longest_trial_is_known_from_the_file(train: str, longest: int | None) -> None:
    spec = study(f"data: {{name: digits}}\nmodel: {{architecture: mlp}}\n"
                 f"objective: {{metric: val_accuracy}}\ntrain: {train}")  # fmt: skip
    assert most_epochs(spec) == longest
