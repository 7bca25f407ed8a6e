from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.study.lane_counts import BestLanes
from sweeper.workers.lane_plan import ALONE, LanePlan, plan_lanes
from tests.support.function_studies import function_spec
from tests.support.sweep_studies import spec_of


def planned(folder: Path, device: str = "cuda:0", n_workers: int = 1, **changes: Any) -> LanePlan:
    spec = spec_of(folder, **{"sampler": {"name": "tpe"}, "run": {"lanes": "auto"}, **changes})
    return plan_lanes(spec, device, n_workers)


@pytest.mark.parametrize(
    ("n_trials", "n_workers", "most"),
    [(1, 1, 1), (20, 1, 4), (50, 1, 8), (100, 1, 16), (100, 2, 8), (5000, 1, 64), (20, 8, 1)],
)
def test_on_a_gpu_auto_looks_for_the_best_power_of_two_up_to_a_fifth_of_the_trials(
    tmp_path: Path, n_trials: int, n_workers: int, most: int
) -> None:
    plan = planned(tmp_path, n_workers=n_workers, budget={"trials": n_trials})
    assert plan == LanePlan(
        first=1, most=most, n_packed=most, is_captured=True, most_running=n_trials // 5
    )
    assert plan.has_lanes


def test_what_a_blind_sampler_draws_does_not_hang_on_how_trials_end(tmp_path: Path) -> None:
    plan = planned(tmp_path, budget={"trials": 40}, sampler={"name": "random"})
    assert (plan.most, plan.most_running) == (32, None)


def test_a_trial_whose_time_is_limited_has_no_company_that_nobody_asked_for(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, budget={"trials": 100, "trial_timeout": "10m"})
    assert (plan.most, plan.is_captured) == (1, True)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_elsewhere_auto_is_one_trial_after_the_other(tmp_path: Path, device: str) -> None:
    assert planned(tmp_path, device, budget={"trials": 100}) == ALONE
    assert not ALONE.has_lanes


def test_a_gpu_of_amd_has_no_graphs_of_nvidia(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert planned(tmp_path, budget={"trials": 100}) == ALONE
    assert not planned(tmp_path, run={"lanes": 3}).is_captured


@pytest.mark.parametrize(
    ("run", "most", "n_packed"),
    [
        ({"lanes": 3}, 3, 1),
        ({"pack": 4}, 4, 4),
        ({"lanes": 2, "pack": 4}, 4, 4),
        ({"lanes": "auto", "pack": 4}, 4, 4),
        ({"lanes": "off", "pack": 4}, 4, 4),
        ({"lanes": 6, "pack": "off"}, 6, 1),
        ({"lanes": 6, "pack": 4}, 6, 4),
    ],
)
def test_what_the_file_says_is_done_on_every_device(
    tmp_path: Path, run: dict[str, Any], most: int, n_packed: int
) -> None:
    plan = planned(tmp_path, "cpu", run=run)
    assert (plan.first, plan.most, plan.n_packed) == (most, most, n_packed)
    assert not plan.is_open
    assert (plan.is_asked, plan.is_captured) == (True, False)
    on_gpu = planned(tmp_path, run=run)
    assert (on_gpu.first, on_gpu.most, on_gpu.is_captured) == (most, most, True)
    assert on_gpu.packs_all == plan.packs_all == ("pack" in run and n_packed > 1)


def test_packs_are_off_on_a_gpu_only_if_the_file_says_so(tmp_path: Path) -> None:
    assert planned(tmp_path, run={"lanes": 6}).n_packed == 6
    assert planned(tmp_path, run={"lanes": 6, "pack": "off"}).n_packed == 1
    off = planned(tmp_path, budget={"trials": 50}, run={"lanes": "auto", "pack": "off"})
    assert (off.most, off.n_packed) == (8, 1)


@pytest.mark.parametrize("run", [{}, {"lanes": "off"}, {"pack": "off"}])
def test_without_lanes_it_is_one_trial_after_the_other(
    tmp_path: Path, run: dict[str, Any]
) -> None:
    assert planned(tmp_path, budget={"trials": 50}, run=run) == ALONE


def test_training_of_ones_own_takes_no_lanes(tmp_path: Path) -> None:
    spec = function_spec(tmp_path)
    assert plan_lanes(spec, "cuda:0", n_workers=1) == ALONE


def test_a_number_that_is_known_takes_the_place_of_the_search(tmp_path: Path) -> None:
    plan = planned(tmp_path, budget={"trials": 50})
    known = plan.found(4)
    assert (known.first, known.most, known.n_packed) == (4, 4, 4)
    assert plan.found(1).n_packed == 1
    assert not known.is_open
    assert plan.found(64).most == 8


def test_a_number_beyond_which_nothing_was_tried_is_where_the_search_goes_on(
    tmp_path: Path,
) -> None:
    few = BestLanes(4, [(1, 1.0), (2, 2.0), (4, 4.0)])
    plan = planned(tmp_path, budget={"trials": 100}).found(few.n, is_bound=few.is_most_tried)
    assert (plan.first, plan.most, plan.n_packed, plan.is_open) == (4, 16, 16, True)
    assert not BestLanes(4, [(1, 1.0), (2, 2.0), (4, 4.0), (8, 4.1)]).is_most_tried
