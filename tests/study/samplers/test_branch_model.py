"""The model's answers, against outcomes that are known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweeper.config.reader import parse_study
from sweeper.study.samplers.branch_model import BranchModel
from sweeper.study.samplers.latent import LatentSpace

TWO = {
    "x": {"low": 0.0, "high": 1.0},
    "y": {"low": 0.0, "high": 1.0},
}
FORK = {"kind": {"choices": {"good": {"x": {"low": 0.0, "high": 1.0}}, "bad": {}}}}


def space_of(train: Mapping[str, object]) -> LatentSpace:
    study = {
        "name": "x",
        "objective": {"metric": "loss", "direction": "minimize"},
        "train": {"function": "package.module:run", **train},
    }
    return LatentSpace(parse_study(yaml.safe_dump(study), Path("x.yaml")))


def fitted(space: LatentSpace, rows: np.ndarray, losses: np.ndarray) -> BranchModel:
    return BranchModel(space, rows, losses, np.ones(len(rows)))


def bowl(rows: np.ndarray) -> np.ndarray:
    return 3.0 + 5.0 * (rows[:, 0] - 0.3) ** 2


def test_it_expects_what_the_outcomes_lead_to() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    model = fitted(space_of(TWO), rows, bowl(rows))
    assert model.lengths[0] < model.lengths[1]
    for row in np.array([[0.3, 0.5], [0.6, 0.2]]):
        loss, _ = model.expect(row)
        assert loss == pytest.approx(bowl(row[None])[0], abs=0.1)


def test_the_best_place_has_the_highest_score_and_chance() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    rows = rows[abs(rows[:, 0] - 0.3) > 0.1]
    model = fitted(space_of(TWO), rows, bowl(rows))
    places = np.array([[0.3, 0.5], [0.8, 0.5], [0.0, 0.5]])
    assert model.score(places, 0).argmax() == 0
    chances = [model.expect(place)[1] for place in places]
    assert chances[0] > 0.5 > max(chances[1:])


def test_below_the_best_that_was_seen_losses_go_on_in_a_line() -> None:
    rows = np.linspace(0.3, 1, 15)[:, None]
    space = space_of({"x": {"low": 0.0, "high": 1.0}})
    loss, _ = fitted(space, rows, rows[:, 0]).expect(np.array([0.0]))
    assert loss < 0.3


def test_where_trials_run_less_is_to_be_gained() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    model = fitted(space_of(TWO), rows, bowl(rows))
    place = np.array([[0.3, 0.5]])
    other = np.array([[0.3, 0.05]])
    before, other_before = model.score(place, 0), model.score(other, 0)
    model.assume(place, np.random.default_rng(1))
    after = model.score(place, 0)
    assert after < before
    assert before - after > other_before - model.score(other, 0)


def test_what_is_assumed_takes_the_place_of_what_was() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    model = fitted(space_of(TWO), rows, bowl(rows))
    place, other = np.array([[0.3, 0.5]]), np.array([[0.9, 0.9]])
    model.assume(other, np.random.default_rng(1))
    alone = model.score(place, 0)
    model.assume(place, np.random.default_rng(1))
    model.assume(other, np.random.default_rng(1))
    np.testing.assert_allclose(model.score(place, 0), alone)


def test_the_branch_with_lower_outcomes_promises_more() -> None:
    space = space_of(FORK)
    rng = np.random.default_rng(0)
    rows = space.spread(rng.random((40, 2)))
    is_good = space.branch(rows) == 0
    losses = np.where(is_good, bowl(rows[:, ::-1]), 9.0 + 0.1 * rng.random(40))
    model = fitted(space, rows, losses)
    tried = {branch: rows[space.branch(rows) == branch][:3] for branch in (0, 1)}
    assert model.promise(tried[0], 0) > model.promise(tried[1], 1)


def test_a_trial_that_diverged_is_worse_than_any_other() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    losses = np.where(rows[:, 0] > 0.7, np.inf, 1 - rows[:, 0])
    model = fitted(space_of(TWO), rows, losses)
    beyond, before = (model.expect(np.array([x, 0.5])) for x in (0.95, 0.6))
    assert beyond[0] > before[0]
    assert beyond[1] < before[1]


def test_what_an_earlier_study_measured_is_believed_and_is_not_to_be_undercut() -> None:
    space = space_of(TWO)
    rows = np.random.default_rng(0).random((30, 2))
    own = np.array([[0.9, 0.5], [0.8, 0.1]])
    both, are_known = np.concatenate([rows, own]), np.arange(32) < 30
    model = BranchModel(space, both, bowl(both), np.ones(32), are_known)
    best = np.array([0.3, 0.5])
    assert model.expect(best)[0] == pytest.approx(3.0, abs=0.2)
    # The best of its own is far above the best of the earlier one.
    assert model.expect(best)[1] > 0.9
    assert model.promise(best[None], 0) > fitted(space, both, bowl(both)).promise(best[None], 0)


def test_what_an_earlier_study_measured_is_doubted_where_this_one_shows_otherwise() -> None:
    space = space_of(TWO)
    rows = np.random.default_rng(0).random((40, 2))
    are_known = np.arange(40) < 30
    losses = np.where(are_known, 7 - bowl(rows), bowl(rows))
    model = BranchModel(space, rows, losses, np.ones(40), are_known)
    assert model.expect(np.array([0.3, 0.5]))[0] < model.expect(np.array([0.9, 0.5]))[0] - 0.5


def test_before_the_first_trial_the_best_place_of_an_earlier_study_is_the_best() -> None:
    rows = np.random.default_rng(0).random((30, 2))
    space = space_of(TWO)
    model = BranchModel(space, rows, bowl(rows), np.ones(30), np.ones(30, bool))
    places = np.array([[0.3, 0.5], [0.8, 0.5], [0.0, 0.5]])
    assert model.score(places, 0).argmax() == 0
