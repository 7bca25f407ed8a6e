"""What lies in a range; which ranges stand in every trial, and which in a branch alone."""

import random

import pytest

from sweeper.config.ranges import Choices, FloatRange, Range, contains, walk_branches
from sweeper.config.settings import Scalar
from sweeper.config.space import suggest_config
from tests.support.spec_files import study

#: A branch that sets a key of its section, a choice within a branch, branches in two sections.
SPACE = """
data: {name: own:load, size: {low: 1, high: 3}}
model:
  dropout: {low: 0.1, high: 0.5}
  architecture:
    choices:
      mlp:
        depth: {low: 1, high: 2}
        activation: {choices: {relu: {}, tanh: {width: {low: 1, high: 9}}}}
      cnn: {dropout: {low: 0.0, high: 0.1}}
      resnet18: {}
train:
  epochs: 2
  learning_rate: {low: 0.1, high: 1.0}
  optimizer: {choices: {sgd: {momentum: {low: 0.0, high: 0.9}}, adamw: {}}}
"""


def test_what_is_in_every_trial_and_what_in_each_branch() -> None:
    common = ["data.size", "model.architecture", "train.learning_rate", "train.optimizer"]
    mlp = [*common, "model.architecture.mlp.depth", "model.architecture.mlp.activation"]
    assert dict(walk_branches(study(SPACE).sections)) == {
        "": common,
        "model.architecture = mlp": mlp,
        "model.architecture.mlp.activation = tanh": [
            *mlp,
            "model.architecture.mlp.activation.tanh.width",
        ],
        "model.architecture = cnn": [*common, "model.architecture.cnn.dropout"],
        "train.optimizer = sgd": [*common, "train.optimizer.sgd.momentum"],
    }


def test_trials_have_the_names_of_their_branches() -> None:
    spec, rng = study(SPACE), random.Random(0)
    branches = dict(walk_branches(spec.sections))
    trials: list[dict[str, Scalar]] = []
    for _ in range(200):
        drawn: dict[str, Scalar] = {}

        def suggest(name: str, values: Range, drawn: dict[str, Scalar] = drawn) -> Scalar:
            options = values.options if isinstance(values, Choices) else (values.low,)
            return drawn.setdefault(name, rng.choice(options))

        suggest_config(spec, suggest, seed=0)
        trials.append(drawn)
    assert set(branches.pop("")) == set.intersection(*(set(trial) for trial in trials))
    for label, names in branches.items():
        name, _, option = label.partition(" = ")
        taken = [trial for trial in trials if trial.get(name) == option]
        assert taken
        assert all(trial.keys() >= set(names) for trial in taken)


@pytest.mark.parametrize(
    ("value", "is_within"),
    [(0.1, True), (0.1 + 2 * 0.1, True), (0.3, True), (0.25, False), (0.4, False), (0.0, False)],
)
def test_a_stepped_range_holds_what_its_steps_add_up_to(value: float, is_within: bool) -> None:
    assert contains(FloatRange(0.1, 0.3, step=0.1), value) == is_within
    assert contains(FloatRange(0.1, 0.35, step=0.1), value) == is_within
