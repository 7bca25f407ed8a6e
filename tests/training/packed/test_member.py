"""The checkpoint of a member is that of a learner alone."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.training.checkpoint import load_checkpoint, save_checkpoint
from sweeper.training.packed.pack import Pack
from tests.support.paired_trials import (
    MLP,
    Pair,
    assert_same_state,
    learner_of,
    rows_of,
    train_pairs,
)

DATA = rows_of()
SETTINGS: dict[str, Any] = {"optimizer": "adamw", "accumulate": 3, "ema": 0.9}


def test_its_file_is_read_by_a_learner_alone_and_holds_no_neighbour(tmp_path: Path) -> None:
    pack = Pack(print)
    pairs = [Pair(pack, DATA, settings=SETTINGS, seed=seed) for seed in range(9)]
    train_pairs(pack, pairs, 4)  # an update, and a batch of the next one
    for name, learner in (("member", pairs[4].member), ("alone", pairs[4].alone)):
        save_checkpoint(tmp_path / name, learner.state_dict())
    saved = load_checkpoint(tmp_path / "member")
    assert saved is not None
    assert "pending" in saved
    assert_same_state(saved, load_checkpoint(tmp_path / "alone"), 1e-12)
    sizes = [(tmp_path / name).stat().st_size for name in ("member", "alone")]
    assert sizes[0] < 1.1 * sizes[1]
    alone = learner_of(DATA, MLP, SETTINGS, seed=20)
    alone.load_state_dict(saved)
    alone.totals = copy.deepcopy(pairs[4].member.totals)
    pairs[4].member = alone  # type: ignore[assignment]
    for _ in range(4):
        pairs[4].train()
    pairs[4].check()


@pytest.mark.parametrize("n_done", range(1, 5))
def test_each_goes_on_from_the_other_in_mid_epoch(n_done: int) -> None:
    pack = Pack(print)
    pairs = [Pair(pack, DATA, settings=SETTINGS, seed=seed) for seed in range(2)]
    train_pairs(pack, pairs, n_done)
    pairs[0].swap()
    train_pairs(pack, pairs, 4)
    for pair in pairs:
        pair.check()
        pair.end_training()
        pair.check()


def test_a_state_is_a_copy() -> None:
    pack = Pack(print)
    pair = Pair(pack, DATA, settings=SETTINGS)
    train_pairs(pack, [pair], 1)
    state, weights = pair.member.state_dict(), pair.member.weights()
    kept = copy.deepcopy((state, weights))
    train_pairs(pack, [pair], 4)
    torch.testing.assert_close((state, weights), kept, rtol=0, atol=0)
