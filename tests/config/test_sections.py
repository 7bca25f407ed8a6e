"""Every message about ``data``, ``model``, ``train`` and the choices in them."""

import pytest

from tests.support.spec_files import BASE, assert_refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l1: {choices: [1], low: 1}", "3: train.l1.low: unknown key; known: choices"),
        ("l1: {choices: []}", "3: train.l1: choices must be a list or a mapping, not empty"),
        ("l1: {choices: {}}", "3: train.l1: choices must be a list or a mapping, not empty"),
        ("l1: {choices: 3}", "3: train.l1: choices must be a list or a mapping, not empty"),
        ("l1: {choices: [0.1, 1e-1]}", "3: train.l1: option 0.1 is given twice"),
        ("l1: {choices: {0.1: {}, 1e-1: {l2: 3}}}", "3: train.l1: option 0.1 is given twice"),
        ("l1: {choices: [[1], {a: 1}, b]}",
         "3: train.l1: an option is one value; name it and put its keys in a branch\n"
         "3: train.l1: must be a number, got 'b'"),
        ("epochs: {choices: [a, 3]}", "3: train.epochs: must be a whole number, got 'a'"),
        ("optimizer: {choices: {sgd: 5, adma: {}}}",
         "3: train.optimizer: must be 'sgd', 'adam', 'adamw' or 'rmsprop', got 'adma'; "
         "did you mean 'adam'?\n"
         "3: train.optimizer.sgd: must be a mapping of keys, got 5"),
        ("optimizer: {choices: {sgd: {optimizer: adam, schedule: step, function: 'a:b'}}}, "
         "schedule: {choices: {step: {step_epochs: 3}, cosine: {}}}",
         "3: train.optimizer.sgd.optimizer: a branch cannot set this key\n"
         "3: train.optimizer.sgd.schedule: a branch cannot set this key\n"
         "3: train.optimizer.sgd.function: a branch cannot set this key"),
    ],
)  # fmt: skip
def test_a_choice_that_is_wrong(text: str, expected: str) -> None:
    assert_refused(BASE + f"train: {{{text}}}", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: x", """1: data: is required, unless train.function brings its own data
         1: model: is required, unless train.function brings its own model"""),
        ("data: []\nmodel: null", """1: data: must be a mapping of keys, got a list
         2: model.architecture: is required, e.g. `architecture: mlp`"""),
        ("data: {}\nmodel: {depth: 3}", """1: data.name: is required, e.g. `name: mnist`
         2: model.architecture: is required, e.g. `architecture: mlp`"""),
        ("data: {name: imagenet22k}\nmodel: {architecture: transformerxl}",
         """1: data.name: unknown data set 'imagenet22k'; known: cifar10, digits, fashion_mnist, \
kmnist, mnist, package.module:function
         2: model.architecture: unknown architecture 'transformerxl'; known: mlp, cnn, the models \
of torchvision, or package.module:function"""),
        ("data: {name: {choices: [mnist, digits]}, validation: {low: 0.1, high: 0.2}}\n"
         "model: {architecture: {choices: [resnet18, resnet19]}}",
         """1: data.name: must be a constant: trials are compared on one validation split
         1: data.validation: must be a constant: trials are compared on one validation split
         2: model.architecture: unknown architecture 'resnet19'; did you mean 'resnet18'?"""),
        ("data: {name: mnist, size: 16}\nmodel: {architecture: mlp, kernel_size: 3}",
         """1: data.size: unknown key; did you mean 'batch_size'?
         2: model.kernel_size: unknown key; known: activation, architecture, batch_norm, depth, \
dropout, width"""),
        ("data: {name: 'a:'}\nmodel: {architecture: ':b'}",
         """1: data.name: 'a:' is not of the form package.module:function, e.g. \
my_models.nets:build
         2: model.architecture: ':b' is not of the form package.module:function, e.g. \
my_models.nets:build"""),
        ("data: {name: 'a:b', x.y: 1, z: {low: a, high: 1}, v: {w: {choices: []}}}\n"
         "model: {architecture: {low: 1, high: 2}}",
         """1: data.x.y: a key here may hold no dot, which joins the names of nested keys
         1: data.z: the ends must be numbers, got low='a' high=1
         1: data.v.w: choices must be a list or a mapping, not empty
         2: model.architecture: must be a string, got 1; put it in quotes
         2: model.architecture: must be a string, got 2; put it in quotes"""),
        ("data: {name: digits, batch_size: {choices: {32: {validation: 0.3}, 64: {}}}}\n"
         "model: {architecture: {choices: {mlp: {channels: 3}, cnn: {}}}, channels: 3, width: 3}",
         """1: data.batch_size.32.validation: a branch cannot set this key
         2: model.architecture.mlp.channels: unknown key; known: activation, batch_norm, depth, \
dropout, width
         2: model.channels: mlp does not take it; move it into the branch of the one that does
         2: model.width: cnn does not take it; move it into the branch of the one that does"""),
        ("data: {name: digits}\nmodel: {architecture: 'a:b', x: {y: {choices: {z: {y: 1}}}}}",
         "2: model.x.y.z.y: a branch cannot set this key"),
        ("data: {name: digits}\nmodel: {architecture: {choices: [mlp, resnet18]}, widht: 3}",
         "2: model.widht: mlp does not take it; move it into the branch of the one that does"),
    ],
)  # fmt: skip
def test_data_and_model_that_are_wrong(text: str, expected: str) -> None:
    assert_refused(text, expected)
