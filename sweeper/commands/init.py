"""``sweeper init``: a study file to start from."""

from pathlib import Path

from sweeper.errors import SpecError

_TEMPLATE = """\
# A sweeper study. Every value is a constant or, in place, a range:
#   {low: 1, high: 8}   {low: 1e-4, high: 1e-1, log: true}   {choices: [relu, gelu]}
# `sweeper check` says what is wrong with it, `sweeper run` works until the goal is reached.
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


def write_template(path: Path) -> None:
    """Write the template to a new file.

    Raises:
        SpecError: If the file exists already, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_TEMPLATE)
    except FileExistsError as exc:
        raise SpecError(f"{path}: exists already; name another file, or remove it") from exc
    except OSError as exc:
        raise SpecError(f"{path}: cannot be written: {exc.strerror}") from exc
