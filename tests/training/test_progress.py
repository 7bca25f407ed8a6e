"""A checkpoint holds from where rows are shuffled, though their orders are drawn ahead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.order import Shuffle
from sweeper.errors import TrialInterrupted
from sweeper.training.build import build_learner
from sweeper.training.checkpoint import load_checkpoint
from sweeper.training.learner import Runtime
from sweeper.training.loop import training
from sweeper.training.packed.packs import Packs
from sweeper.trial import Objective
from tests.support.paired_trials import CPU, in_float32, rows_of
from tests.support.recorder import Recorder
from tests.support.tape import TapeCapture

DATA = in_float32(rows_of())
CONFIG = TrialConfig(
    params={},
    data=DataConfig(name="made", batch_size=2),
    model=ModelConfig(architecture="mlp", params={"width": 8}),
    train=TrainConfig(optimizer="sgd", epochs=3),
    seed=4,
)
OBJECTIVE = Objective(("val_loss",), ("minimize",))


class Stopping(Recorder):
    """Stops a trial once so much of it is done.

    Args:
        epoch: Under way then.
        share: Of it.
    """

    def __init__(self, epoch: int, share: float) -> None:
        super().__init__()
        self._stop_at = epoch, share

    def is_stopping(self) -> bool:
        return self.progress[-1] >= self._stop_at


def train(checkpoint: Path, reporter: Recorder, *, is_captured: bool) -> None:
    packs = Packs(1, pytest.fail, TapeCapture)
    build: Callable[..., Any] = packs.build if is_captured else build_learner
    steps = training(
        CONFIG,
        DATA,
        objective=OBJECTIVE,
        runtime=Runtime(CPU),
        reporter=reporter,
        checkpoint=checkpoint,
        build=build,
    )
    for _ in steps:
        for pack in packs.at_work:
            pack.step()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many rows orders were drawn ahead."""
    noted: list[int] = []
    draw_ahead = Shuffle.draw_ahead

    def note(self: Shuffle, n: int) -> None:
        noted.append(n)
        draw_ahead(self, n)

    monkeypatch.setattr(Shuffle, "draw_ahead", note)
    return noted


@pytest.mark.parametrize("share", [0.2, 1.0], ids=["mid-epoch", "end"])
def test_a_trial_whose_orders_are_drawn_ahead_stops_and_goes_on_as_any(
    tmp_path: Path, share: float, ahead: list[int]
) -> None:
    whole = Recorder()
    train(tmp_path / "whole", whole, is_captured=False)
    assert not ahead
    states = []
    for is_captured in (False, True):
        file = tmp_path / f"{is_captured}"
        with pytest.raises(TrialInterrupted):
            train(file, Stopping(2, share), is_captured=is_captured)
        saved = load_checkpoint(file)
        assert saved is not None
        states.append(saved["shuffle"])
        resumed = Recorder()
        train(file, resumed, is_captured=is_captured)
        found, wanted = (
            [[each.values[name] for name in ("train_loss", "val_loss")] for each in heard.history]
            for heard in (resumed, whole)
        )
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)
    assert torch.equal(*states)
    # In epochs 1 and 2, and again in 2; behind the last there is none to come.
    assert ahead == [DATA.train.n_rows] * 3
