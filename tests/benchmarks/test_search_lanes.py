import math
from typing import Any

import lane_studies
import pytest
from lane_studies import N_TRIALS, ONE, WAYS, Found, Way, search
from search_lanes import MARKS, render_trained


def test_a_whole_study_is_trained_and_how_full_its_packs_were_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small: dict[str, Any] = {
        **lane_studies._STUDY,
        "budget": {"trials": 3},
        "data": {"name": "digits", "batch_size": 128},
        "model": {"architecture": "mlp", "width": 8},
        "train": {"epochs": 1, "learning_rate": {"low": 0.01, "high": 0.1}},
    }
    monkeypatch.setattr(lane_studies, "_STUDY", small)
    found = search(Way("two at once", {"pack": 2}), seed=0)
    assert len(found.losses) == 3
    assert all(map(math.isfinite, found.losses))
    assert found.n_together == pytest.approx(1.5)  # two, then the third alone


def test_ways_of_training_are_held_against_one_trial_at_a_time() -> None:
    eight = WAYS[2]
    assert (ONE.n_at_work, eight.n_at_work, WAYS[1].n_at_work) == (1, 8, 8)

    def falling(*at: int) -> Found:
        """The best is halved at each of those trials."""
        losses = [0.5 ** sum(n >= trial for trial in at) for n in range(1, N_TRIALS + 1)]
        return Found([math.nan, *losses[1:]], 2.0, n_together=1.5)

    found = {
        ONE.title: [falling(8, 15), falling(8, 30)],
        eight.title: [falling(15, 22), falling(15, 37)],
    }
    row = render_trained(found).splitlines()[-1].split(" | ")
    assert MARKS == (10, 20, 40)
    assert row[1] == "1 [1 1] / 0.5 [0.5 0.5] / 0.25 [0.25 0.25]"
    assert row[2] == "+69 (0) / +35 (35) / +0 (0)"  # of the logarithm of 2
    assert row[3] == "+0 (0) / +0 (0) / +0 (0)"  # as those with seven trials fewer
    assert row[4:] == ["1.5", "2.0 |"]
