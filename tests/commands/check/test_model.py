"""What a model needs before it is trained, and whose fault it is when it cannot be."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.commands.check.model import measure_model, try_batch
from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.errors import TrainingError
from sweeper.trial import DataInfo

DATA = DataInfo("small", "0" * 16, (3,), 2, 90, 10)


ROWS = ResidentSplit(
    torch.zeros(100, 3), torch.zeros(100, dtype=torch.int64), torch.arange(100), None
)
TRIAL_DATA = TrialData(DATA, ROWS, ROWS)


def mlp(**params: object) -> ModelConfig:
    return ModelConfig(architecture="mlp", params=params)


def trial(model: ModelConfig, **settings: Any) -> TrialConfig:
    data = DataConfig(name="small")
    return TrialConfig(params={}, data=data, model=model, train=TrainConfig(**settings), seed=0)


def test_the_footprint_is_weights_gradients_and_what_a_batch_leaves_behind() -> None:
    # 3 x 4 + 4 and 4 x 2 + 2 weights; a row leaves 3 inputs, 4 hidden units and 2 logits.
    footprint = measure_model(mlp(depth=1, width=4), DATA, n_rows=10)
    assert footprint.n_weights == 26
    assert footprint.n_bytes == 4 * (2 * 26 + 10 * (3 + 4 + 2))


def test_dropout_leaves_its_mask() -> None:
    plain = measure_model(mlp(depth=1, width=4), DATA, n_rows=10)
    dropped = measure_model(mlp(depth=1, width=4, dropout=0.5), DATA, n_rows=10)
    assert dropped.n_bytes > plain.n_bytes


def test_a_model_that_no_machine_holds_is_refused_without_being_built() -> None:
    with pytest.raises(TrainingError) as caught:
        measure_model(mlp(depth=2, width=1_000_000), DATA, n_rows=10)
    # 2 x 4 bytes of 1e12 + 6e6 + 2 weights and a few hidden units.
    assert str(caught.value).startswith("model.architecture: mlp needs 7,450.7 GiB at least")
    assert str(caught.value).endswith("make the model smaller, or data.batch_size")


def test_a_batch_that_no_machine_holds_is_refused() -> None:
    with pytest.raises(TrainingError, match="and a batch of 1000000000000;"):
        measure_model(mlp(depth=1, width=4), DATA, n_rows=10**12)


def test_a_batch_is_trained_on() -> None:
    batch = torch.rand(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    loss, seconds = try_batch(trial(mlp()), TRIAL_DATA, batch)
    assert 0 < loss < 10
    assert seconds > 0


def with_closure(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    class Searching(torch.optim.SGD):
        def step(self, closure: Any) -> Any:  # type: ignore[override]
            return closure()

    return Searching(groups, lr=lr)


def test_a_batch_takes_part_in_an_update() -> None:
    batch = torch.rand(6, 3), torch.tensor([0, 1, 0, 1, 0, 1])
    config = trial(mlp(), optimizer=f"{__name__}:with_closure")
    with pytest.raises(TrainingError, match=r"train.optimizer: .*: step\(\) raised TypeError"):
        try_batch(config, TRIAL_DATA, batch)


def test_a_single_row_cannot_be_normalised() -> None:
    with pytest.raises(TrainingError, match="mlp raised ValueError: Expected more than 1 value"):
        try_batch(trial(mlp(batch_norm=True)), TRIAL_DATA, (torch.rand(1, 3), torch.tensor([0])))


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tried_code", raising=False)
    return tmp_path / "tried_code.py"


def test_what_the_users_builder_raises_is_told_with_its_line(own_code: Path) -> None:
    own_code.write_text("def build(input_shape, n_outputs):\n    return {}['layers']\n")
    with pytest.raises(TrainingError) as caught:
        measure_model(ModelConfig(architecture="tried_code:build"), DATA, n_rows=2)
    assert str(caught.value) == (
        f"model.architecture: tried_code:build raised KeyError: 'layers' ({own_code}:2)"
    )
    assert isinstance(caught.value.__cause__, KeyError)


AUXILIARY = """
from torch import nn

class Net(nn.Linear):
    def forward(self, x):
        logits = super().forward(x)
        return (logits, logits) if self.training else logits

def build(input_shape, n_outputs):
    return Net(*input_shape, n_outputs).eval()
"""


def test_a_model_that_returns_more_while_it_trains_is_refused(own_code: Path) -> None:
    own_code.write_text(AUXILIARY)
    with pytest.raises(TrainingError) as caught:
        measure_model(ModelConfig(architecture="tried_code:build"), DATA, n_rows=2)
    assert str(caught.value) == (
        "model.architecture: Net must return outputs [B, n_outputs], here [2, 2], got tuple while "
        "training"
    )


def test_what_torchvision_raises_has_no_line_of_the_users() -> None:
    model = ModelConfig(architecture="resnet18", params={"width_per_group": 0, "groups": 0})
    images = DataInfo("images", "0" * 16, (3, 32, 32), 2, 90, 10)
    with pytest.raises(TrainingError, match="^model.architecture: resnet18 "):
        measure_model(model, images, n_rows=2)
