"""Every message about values that are valid one by one and do not fit together."""

import pytest

from sweeper.trial import Objective
from tests.support.spec_files import BASE, assert_refused, study


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("objective: {metric: [val_loss, val_accuracy]}\nsampler: {name: cmaes}\n"
         "pruner: {name: asha}",
         "4: sampler.name: cmaes takes one metric; use conditional_gp, nsga2, tpe or gp\n"
         "5: pruner.name: several metrics cannot be pruned by; set it to none"),
        ("pruner: {name: none, patience: 3}",
         "3: pruner.patience: none does not look at it; it takes no other key"),
        ("pruner: {min_epochs: 11}",
         "3: pruner.min_epochs: asks for 11 epochs, but train.epochs is 10; lower one"),
        ("pruner: {min_epochs: automatic}",
         "3: pruner.min_epochs: must be 'auto' or a whole number, got 'automatic'; did you "
         "mean 'auto'?"),
        ("pruner: {min_epochs: 5}\ntrain: {epochs: {choices: [2, 4]}}",
         "3: pruner.min_epochs: asks for 5 epochs, but train.epochs is 4; lower one"),
        ("pruner: {min_epochs: 5}\ntrain: {epochs: {low: 2, high: 4}}",
         "3: pruner.min_epochs: asks for 5 epochs, but train.epochs is 4; lower one"),
        ("train: {epochs: 5, warmup_epochs: 5, nesterov: true, momentum: 0}",
         "3: train.warmup_epochs: must be shorter than train.epochs=5, got 5\n"
         "3: train.nesterov: needs train.momentum > 0; set one, or nesterov: false"),
        ("train: {backbone_rate: 0.1}",
         "3: train.backbone_rate: no model.weights are there, so nobody looks at it; drop it, or "
         "set them"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_together(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)


@pytest.mark.parametrize(
    "model",
    [
        "{architecture: resnet18, weights: DEFAULT}",
        "{architecture: {choices: {mlp: , resnet18: {weights: {choices: [none, DEFAULT]}}}}}",
    ],
)
def test_a_rate_of_the_backbone_is_for_weights_that_any_model_begins_with(model: str) -> None:
    study(f"data: {{name: digits}}\nmodel: {model}\ntrain: {{backbone_rate: 0.1}}")


SEARCH = """\
data: {name: digits}
model:
  architecture: {choices: {mlp: {depth: {low: 1, high: 5, step: 2}}, cnn: {}}}
  activation: {choices: [relu, tanh]}
  dropout: {low: 0, high: 0.5, step: 0.25}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("forbid: {model.activation: relu}",
         "6: forbid: must be a list of mappings such as `- {train.optimizer: sgd}`"),
        ("enqueue:\n- 5\n- {}\n- {model.activation: [relu]}",
         """7: enqueue[0]: must be a list of mappings such as `- {train.optimizer: sgd}`
         8: enqueue[1]: must be a list of mappings such as `- {train.optimizer: sgd}`
         9: enqueue[2].model.activation: must be one value, got a list"""),
        ("forbid:\n- model.activation: relu\n  model.activtion: relu\n- {model.dropout: 0.3}\n"
         "- {model.activation: gelu, model.architecture.mlp.depth: 2}",
         """8: forbid[0].model.activtion: is not searched; did you mean 'model.activation'?
         9: forbid[1].model.dropout: must lie within {low: 0.0, high: 0.5, step: 0.25}, got 0.3
         10: forbid[2].model.activation: must lie within {choices: [relu, tanh]}, got 'gelu'
         10: forbid[2].model.architecture.mlp.depth: must lie within {low: 1, high: 5, step: 2}, \
got 2"""),
        ("enqueue:\n- {model.architecture: cnn, model.architecture.mlp.depth: 3}\n"
         "- {model.architecture: rnn}\n- {model.dropout: true}",
         """7: enqueue[0].model.architecture.mlp.depth: is drawn only with model.architecture: \
mlp; add that
         8: enqueue[1].model.architecture: must lie within {choices: [mlp, cnn]}, got 'rnn'
         9: enqueue[2].model.dropout: must lie within {low: 0.0, high: 0.5, step: 0.25}, \
got true"""),
        ("forbid: [{model.dropout: 0}]\nenqueue:\n- {model.activation: tanh, model.dropout: 0}",
         "8: enqueue[0]: is ruled out by forbid; drop one of the two"),
        ("sampler: {name: grid}\ntrain:\n  l1: {low: 0, high: 1}\nenqueue: [{model.dropout: 0}]",
         """8: train.l1: a grid needs a step, or choices, in place of every real number
         9: enqueue: a grid tries everything already; drop it"""),
    ],
)  # fmt: skip
def test_settings_and_grids_that_do_not_fit_the_search(text: str, expected: str) -> None:
    assert_refused(SEARCH + text, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "objective: {metric: val_accuracy}\ndata: {name: digits, task: regression}\n"
            "model: {architecture: mlp}\ntrain: {loss: {choices: [mse, bce]}}\n",
            "1: objective.metric: nobody measures val_accuracy of regression; there are val_rmse, "
            "val_mae, val_r2\n4: train.loss: bce is no loss of regression; it takes mse, mae, "
            "huber",
        ),
        (
            "objective: {metric: val_rmse}\ndata: {name: 'a:b', fallback: digits}\n"
            "model: {architecture: mlp}",
            "2: data.fallback: the digits are classes, and nobody measures val_rmse of them; drop "
            "it",
        ),
        (
            BASE + "train: {loss: hubber}",
            "3: train.loss: must be 'cross_entropy', 'bce', 'mse', 'mae' or 'huber' or "
            "package.module:function, got 'hubber'; did you mean 'huber'?",
        ),
    ],
)
def test_what_a_stated_task_does_not_measure_or_minimise(text: str, expected: str) -> None:
    assert_refused(text, expected)


def test_the_objective_follows_from_a_stated_task() -> None:
    text = "data: {name: 'a:b', task: regression}\nmodel: {architecture: mlp}\n"
    assert study(text).objective == Objective(("val_rmse",), ("minimize",))
    assert study(BASE).objective == Objective(("val_accuracy",), ("maximize",))
    own = BASE + "train: {metrics: 'a:b'}\nobjective: {metric: cost, direction: minimize}"
    assert study(own).objective.metrics == ("cost",)
