"""A study file to start from, as text with comments."""

from typing import Any

from sweeper.commands.init.proposal import Kind, Proposal
from sweeper.config.render import render_setting
from sweeper.trial import Task

#: Where comments begin.
_COLUMN = 37
HEAD = """\
# A sweeper study{about}.
# Every value is a constant or, in place, a range:
#   {{low: 1, high: 8}}   {{low: 1e-4, high: 1e-1, log: true}}   {{choices: [relu, gelu]}}
# `sweeper check` says what is wrong with it, `sweeper run` works until the goal is reached.
"""
BUDGET = "budget: {trials: 20}                 # finished trials the study should reach\n"
_DIGITS = """\
objective: {metric: val_accuracy, direction: maximize}
budget: {trials: 20}                 # finished trials the study should reach

data:
  name: digits                       # or mnist, fashion_mnist, cifar10, package.module:load
  batch_size: 64

model:
  architecture:                      # each branch carries its own parameters
    choices:
      mlp: {depth: {low: 1, high: 2}, width: {choices: [64, 128, 256]}}
      cnn: {depth: {low: 1, high: 2}, channels: {choices: [8, 16]}}
  activation: {choices: [relu, gelu]}
  dropout: {low: 0.0, high: 0.5}

train:
  epochs: 9
  optimizer: {choices: [sgd, adamw]}
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  l2: {low: 1e-7, high: 1e-2, log: true}
"""
_METRICS: dict[Task, str] = {
    "classification": "val_accuracy",
    "multilabel": "val_auroc",
    "regression": "val_rmse",
}
_MODELS: dict[Kind, str] = {
    "table": """\
model:
  architecture: mlp
  depth: {low: 1, high: 4}
  width: {choices: [64, 128, 256]}
  embed_numbers: {choices: [none, periodic]}
  batch_norm: true
  dropout: {low: 0.0, high: 0.5}
""",
    "text": """\
model:
  architecture:                      # each branch carries its own parameters
    choices:
      bag: {}
      rnn: {cell: {choices: [lstm, gru]}, pool: {choices: [max, mean]}}
      transformer: {depth: {low: 1, high: 2}}
  width: {choices: [64, 128]}
  dropout: {low: 0.0, high: 0.5}
""",
    "audio": """\
model:
  architecture:                      # each branch carries its own parameters
    choices:
      cnn: {depth: {low: 2, high: 3}, channels: {choices: [16, 32]}, batch_norm: true}
      rnn: {cell: {choices: [lstm, gru]}, width: {choices: [64, 128]}}
  dropout: {low: 0.0, high: 0.5}
""",
    "images": """\
model:
  architecture:                      # each branch carries its own parameters
    choices:
      cnn: {depth: {low: 2, high: 3}, channels: {choices: [16, 32]}, batch_norm: true}
      resnet: {depth: {low: 1, high: 2}, width: {choices: [16, 32]}}
  dropout: {low: 0.0, high: 0.5}
""",
}
_TRAIN = """\
train:
  epochs: 10
  learning_rate: {low: 3e-4, high: 1e-2, log: true}
  l2: {low: 1e-6, high: 1e-2, log: true}
  schedule: cosine
"""
#: Keys of ``data`` beside those that were found.
_SEARCHED: dict[Kind, dict[str, Any]] = {
    "table": {
        "scale": {"choices": ["standard", "quantile"]},
        "batch_size": {"choices": [64, 256]},
    },
    "text": {"batch_size": {"choices": [32, 64, 128]}},
    "audio": {"batch_size": {"choices": [32, 64]}},
    "images": {"batch_size": {"choices": [32, 64, 128]}},
}


def render_template(proposal: Proposal | None) -> str:
    """A study of some data; of None, one that runs without a download."""
    if proposal is None:
        return HEAD.format(about="") + _DIGITS
    model = _MODELS[proposal.kind]
    if not proposal.has_numbers:
        model = model.replace("  embed_numbers: {choices: [none, periodic]}\n", "")
    keys = [
        render_line("name", proposal.kind),
        *(render_line(*key) for key in proposal.keys),
        *(render_line(name, value) for name, value in _SEARCHED[proposal.kind].items()),
    ]
    return "\n".join(
        [
            HEAD.format(about=f" of {proposal.about}")
            + f"objective: {{metric: {_METRICS[proposal.task]}}}\n"
            + BUDGET,
            "data:\n" + "".join(keys),
            model,
            _TRAIN,
        ]
    )


def render_line(name: str, value: Any, why: str = "") -> str:
    """A key of a section, with a comment behind it, or above it where there is no room."""
    text = "  " + render_setting({name: value})[1:-1]
    if len(text) >= _COLUMN - 1 and why:
        return f"  # {why}\n{text}\n"
    return (f"{text:<{_COLUMN - 1}} # {why}" if why else text) + "\n"
