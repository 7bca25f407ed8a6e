"""Every message about ``data``, ``model``, ``train`` and the choices in them."""

import pytest

from sweeper.config.render import render_study
from sweeper.config.space import first_value, suggest_config
from tests.support.spec_files import BASE, assert_refused, study


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
         "3: train.optimizer: must be 'sgd', 'adam', 'adamw' or 'rmsprop' or "
         "package.module:function, got 'adma'; did you mean 'adam'?\n"
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
        (
            "name: x",
            "1: data: is required, unless train.function or train.command brings its own data\n"
            "1: model: is required, unless train.function or train.command brings its own model",
        ),
        ("data: []\nmodel: null", """1: data: must be a mapping of keys, got a list
         2: model.architecture: is required, e.g. `architecture: mlp`"""),
        (BASE + "train: {mlflow: trial}", "3: train.mlflow: is for code of your own; what "
         "built-in training measures is sent anyway, so drop it"),
        ("train: {function: 'a:b', mlflow: on}",
         "1: train.mlflow: must be 'trial', got 'on'"),
        ("train: {function: 'a:b', mlflow: {choices: [trial]}}",
         "1: train.mlflow: must be a constant: all trials log alike"),
        ("data: {}\nmodel: {depth: 3}", """1: data.name: is required, e.g. `name: mnist`
         2: model.architecture: is required, e.g. `architecture: mlp`"""),
        ("data: {name: imagenet22k}\nmodel: {architecture: perceptron9000}",
         """1: data.name: unknown data set 'imagenet22k'; known: audio, cifar10, digits, \
fashion_mnist, images, kmnist, mnist, package.module:function, table, text
         2: model.architecture: unknown architecture 'perceptron9000'; known: mlp, cnn, resnet, \
bag, rnn, transformer, the models of torchvision, or package.module:function"""),
        ("data: {name: {choices: [mnist, digits]}, validation: {low: 0.1, high: 0.2}}\n"
         "model: {architecture: {choices: [resnet18, resnet19]}}",
         """1: data.name: must be a constant: trials are compared on one validation split
         1: data.validation: must be a constant: trials are compared on one validation split
         2: model.architecture: unknown architecture 'resnet19'; did you mean 'resnet18'?"""),
        ("data: {name: mnist, size: 16}\nmodel: {architecture: mlp, kernel_size: 3}",
         """1: data.size: unknown key; did you mean 'batch_size'?
         2: model.kernel_size: unknown key; known: activation, architecture, batch_norm, depth, \
dropout, embed_numbers, width"""),
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
dropout, embed_numbers, width
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


TABLE = "model: {architecture: mlp}\ndata: {name: table, path: t.csv, target: y, "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {name: table}",
         "1: data.path: is required by `name: table`\n"
         "1: data.target: is required by `name: table`"),
        ("data: {name: table, path: {choices: [a, b]}, target: {choices: [a]}, ignore: [b], "
         "scale: {choices: {quantile: {ignore: [c]}}}}",
         "1: data.path: must be a constant: trials are compared on one validation split\n"
         "1: data.target: must be a constant: trials are compared on one validation split\n"
         "1: data.scale.quantile.ignore: a branch cannot set this key"),
        ("data: {name: table, path: 3, target: [], ignore: x, scale: log}",
         "1: data.path: must be a string, got 3; put it in quotes\n"
         "1: data.target: must be a string or a list that is not empty, got []\n"
         "1: data.ignore: must be a list, got 'x'\n"
         "1: data.scale: must be 'standard' or 'quantile', got 'log'"),
        ("data: {name: audio, target: x}",
         "1: data.path: is required by `name: audio`\n"
         "1: data.sample_rate: is required by `name: audio`\n"
         "1: data.max_seconds: is required by `name: audio`"),
        ("data: {name: text}", "1: data.path: is required by `name: text`"),
        ("data: {name: images, path: x, size: [8], channels: 2, target: {choices: [a, b]}}",
         "1: data.size: must be a whole number or a list of 2, got [8]\n"
         "1: data.channels: must be 1 or 3, got 2\n"
         "1: data.target: must be a constant: trials are compared on one validation split"),
        ("data: {name: images, path: x, size: [8, 9, 10]}",
         "1: data.size: must be a whole number or a list of 2, got [8, 9, 10]"),
        ("data: {name: digits, transform: 'a:b', validation_transform: flip}",
         "1: data.validation_transform: must be package.module:function, got 'flip'\n"
         "1: data.transform: is for a Dataset of your own, and digits is none; leave it out"),
        ("data: {name: 'a:b', validation_transform: {choices: ['a:b', 'a:c']}}",
         "1: data.validation_transform: must be a constant: trials are compared on one validation "
         "split"),
        ("data: {name: digits, ignore: [x]}",
         "1: data.ignore: unknown key; known: batch_size, fallback, name, root, size, task, "
         "transform, validation, validation_transform"),
    ],
)  # fmt: skip
def test_the_keys_of_data(text: str, expected: str) -> None:
    assert_refused(f"{text}\nmodel: {{architecture: mlp}}", expected)


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        ("{}", "2: data.validation: must be a share in (0, 1), {by: COLUMN}, {column: COLUMN, "
               "value: WORD} or {path: FILE}, got {}"),
        ("{by: x, share: 2, seed: 1}",
         "2: data.validation.seed: unknown key; known: by, share\n"
         "2: data.validation.share: must be less than 1, got 2"),
        ("{column: x, test: y}",
         "2: data.validation.value: is required; wanted is a share in (0, 1), {by: COLUMN}, "
         "{column: COLUMN, value: WORD} or {path: FILE}"),
        ("{path: [x]}", "2: data.validation.path: must be one value, got a list"),
        ("[0.1]", "2: data.validation: must be one value, got a list"),
        ("2", "2: data.validation: must be less than 1, got 2"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_held_out(validation: str, expected: str) -> None:
    assert_refused(f"{TABLE}validation: {validation}}}", expected)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("x", "2: data.test: must be {column: COLUMN, value: WORD} or {column: COLUMN, value: "
              "[WORD, ...]}, got 'x'"),
        ("{column: x, values: [a]}",
         "2: data.test.value: is required; wanted is {column: COLUMN, value: WORD} or "
         "{column: COLUMN, value: [WORD, ...]}\n"
         "2: data.test.values: unknown key; did you mean 'value'?"),
        ("{column: x, value: []}",
         "2: data.test.value: must be true or false or a whole number or a string or a list that "
         "is not empty, got []"),
        ("{choices: [{column: x, value: y}]}",
         "2: data.test: an option is one value; name it and put its keys in a branch\n"
         "2: data.test: must be a constant: trials are compared on one validation split"),
    ],
)  # fmt: skip
def test_rows_of_a_test_that_nobody_can_find(test: str, expected: str) -> None:
    assert_refused(f"{TABLE}test: {test}}}", expected)


def test_rows_without_columns_are_held_out_by_share() -> None:
    for name in ("digits", "a.b:c"):
        assert_refused(
            f"model: {{architecture: mlp}}\ndata: {{name: '{name}', validation: {{by: x}}}}",
            f"2: data.validation: must be a share in (0, 1): rows of '{name}' have no columns; "
            "table, audio, images, text can be held out by groups, a column or a file",
        )


def test_lists_and_mappings_of_a_table_are_drawn_as_they_stand() -> None:
    text = f"{TABLE}ignore: [a, b], validation: {{by: who, share: 0.2}}}}"
    config = suggest_config(study(text), first_value, seed=0)
    assert config.data is not None
    assert config.data.params == {"path": "t.csv", "target": "y", "ignore": ["a", "b"]}
    assert config.data.validation == {"by": "who", "share": 0.2}
    assert config.params["data.ignore"] == "['a', 'b']"
    assert config.params["data.validation.by"] == "who"
    again = study(render_study(study(text))).sections["data"]
    assert again == {**study(text).sections["data"], "batch_size": 64}
