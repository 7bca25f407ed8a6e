"""``check`` calls all of the user's own code that a range names, not only what comes first."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.commands.check.tried_settings import architectures_of, settings_of_own_code
from tests.support.sweep_studies import spec_of

CODE = """
from torch import nn, optim

def agreeing(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)

def odd(outputs, targets):
    return outputs @ targets

def plain(groups, lr):
    return optim.SGD(groups, lr=lr)
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tried_own_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)


VARIED = {"train.loss", "train.optimizer"}
AGREEING, ODD, PLAIN = (f"tried_own_code:{name}" for name in ("agreeing", "odd", "plain"))


def own_settings(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """What varies in the settings that are tried beside the first ones."""
    spec = spec_of(folder, **changes)
    found = settings_of_own_code(spec, architectures_of(spec))
    return [
        {name: config.params[name] for name in VARIED & config.params.keys()} for config in found
    ]


def test_each_piece_of_own_code_is_in_one_of_the_settings(tmp_path: Path, own_code: None) -> None:
    losses = {"choices": [AGREEING, "cross_entropy", ODD]}
    train = {"epochs": 1, "loss": losses, "optimizer": {"choices": ["sgd", PLAIN]}}
    assert own_settings(tmp_path, train=train) == [
        {"train.loss": ODD, "train.optimizer": "sgd"},
        {"train.loss": AGREEING, "train.optimizer": PLAIN},
    ]


def test_what_is_forbidden_beside_first_values_is_left_out(tmp_path: Path, own_code: None) -> None:
    train = {"epochs": 1, "loss": {"choices": ["cross_entropy", AGREEING, ODD]}}
    forbidden = [{"train.loss": ODD}]
    assert own_settings(tmp_path, train=train, forbid=forbidden) == [
        {"train.loss": AGREEING, "train.optimizer": "adamw"}
    ]


def test_keys_of_the_users_own_training_are_no_code_that_check_calls(
    tmp_path: Path, own_code: None
) -> None:
    train = {"function": AGREEING, "loss": {"choices": ["cross_entropy", ODD]}}
    assert own_settings(tmp_path, train=train) == []
