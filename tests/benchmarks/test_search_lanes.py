import math
from typing import Any

import pytest
import search_lanes
from search_lanes import MARKS, ONE, Found, Way, render_trained, search


def test_a_whole_study_is_trained_and_how_full_its_packs_were_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small: dict[str, Any] = {
        **search_lanes._STUDY,
        "budget": {"trials": 3},
        "data": {"name": "digits", "batch_size": 128},
        "model": {"architecture": "mlp", "width": 8},
        "train": {"epochs": 1, "learning_rate": {"low": 0.01, "high": 0.1}},
    }
    monkeypatch.setattr(search_lanes, "_STUDY", small)
    found = search(Way("two at once", {"pack": 2}), seed=0)
    assert len(found.losses) == 3
    assert all(map(math.isfinite, found.losses))
    assert found.n_together == pytest.approx(1.5)  # two, then the third alone


def test_the_best_so_far_is_held_against_the_same_search_one_trial_at_a_time() -> None:
    def best(at_first: float, then: float) -> Found:
        rest = [math.nan] * (MARKS[1] - MARKS[0] - 1)
        return Found([9.0] * (MARKS[0] - 1) + [at_first, *rest, then], 2.0, n_together=0.0)

    found = {ONE.title: [best(2, 1), best(4, 1)], "others": [best(4, 1), best(4, 0.5)]}
    row = render_trained(found).splitlines()[-1]
    double, half = 100 * math.log(2) / 2, -100 * math.log(2) / 2  # means of 0 and a factor
    assert f"| {double:+.2g} ({double:.2g}) / {half:+.2g} ({-half:.2g}) / {half:+.2g} " in row
    assert row.startswith("| others | 4 [4 4] / 0.75 [0.625 0.875] / 0.75 ")
