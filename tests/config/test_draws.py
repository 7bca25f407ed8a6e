"""sweeper.config.draws."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.config.draws import drawing_key
from tests.support.sweep_studies import spec_of


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"model": {"architecture": "mlp", "dropout": 0.0}}, ""),
        ({"model": {"architecture": "mlp", "dropout": 0.1}}, "model.dropout"),
        ({"model": {"architecture": "mlp", "dropout": {"low": 0, "high": 0.5}}}, "model.dropout"),
        (
            {"model": {"architecture": {"choices": {"mlp": None, "cnn": {"dropout": 0.2}}}}},
            "model.architecture.cnn.dropout",
        ),
        ({"model": {"architecture": "resnet18"}}, "model.architecture"),
        ({"model": {"architecture": "nets:build"}}, "model.architecture"),
        ({"train": {"mixup": {"choices": [0.0, 0.2]}}}, "train.mixup"),
        ({"train": {"random_flip": True, "random_crop": 0}}, "train.random_flip"),
        ({"train": {"optimizer": {"choices": ["sgd", "optims:Noisy"]}}}, "train.optimizer"),
        ({"data": {"name": "rows:load"}}, "data.name"),
    ],
)
def test_whatever_may_draw_is_named(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    assert drawing_key(spec_of(tmp_path, **changes)) == expected
