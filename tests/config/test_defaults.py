from pathlib import Path
from typing import Any

import yaml

from sweeper.config.defaults import default_values
from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar

RATE = {"low": 1e-5, "high": 1e-1, "log": True}


def defaults(setting: dict[str, Scalar], **sections: Any) -> dict[str, Scalar]:
    study = {
        "name": "x",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "train": {"learning_rate": RATE},
        **sections,
    }
    return default_values(parse_study(yaml.safe_dump(study), Path("x.yaml")), setting)


def test_they_are_those_of_the_sections_and_of_the_architecture() -> None:
    setting: dict[str, Scalar] = {
        "data.batch_size": 32,
        "model.architecture": "cnn",
        "model.architecture.cnn.channels": 8,
        "train.learning_rate": 0.1,
        "train.clip_grad_norm": 1.0,
    }
    architecture = {"choices": {"cnn": {"channels": {"low": 4, "high": 8}}, "mlp": {}}}
    sections = {"data": {"name": "digits"}, "model": {"architecture": architecture}}
    assert defaults(setting, **sections) == {
        "data.batch_size": 64,
        "model.architecture.cnn.channels": 32,
        "train.learning_rate": 1e-3,
    }
    alone = {"data": {"name": "digits"}, "model": {"architecture": "mlp"}}
    assert defaults({"model.depth": 1, "model.heads": 2}, **alone) == {"model.depth": 2}


def test_the_users_own_code_has_none() -> None:
    own = {"data": {"name": "digits"}, "model": {"architecture": "package.module:build"}}
    assert defaults({"model.depth": 1, "train.learning_rate": 0.1}, **own) == {
        "train.learning_rate": 1e-3
    }
    train = {"function": "package.module:run", "learning_rate": RATE}
    assert defaults({"train.learning_rate": 0.1}, train=train) == {}
