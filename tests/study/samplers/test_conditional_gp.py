"""How it begins, what it learns from, and what it keeps apart."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar
from sweeper.study.samplers.conditional_gp import ConditionalGP
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.samplers.proposal import Request

LINE = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
FORK = {
    "kind": {
        "choices": {
            name: {f"{name}{at}": {"low": 0.0, "high": 1.0} for at in range(2)} for name in "abcd"
        }
    }
}


class Search:
    """A sampler and the trials that it has seen, in memory."""

    def __init__(self, train: Mapping[str, Any], **more: Any) -> None:
        study = {
            "name": "x",
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "train": train if "data" in more else {"function": "package.module:run", **train},
            **more,
        }
        self.spec = parse_study(yaml.safe_dump(study), Path("x.yaml"))
        self.sampler = ConditionalGP(self.spec)
        self.trials: list[FrozenTrial] = []

    def ask(self, given: Mapping[str, Scalar] | None = None) -> tuple[dict[str, Scalar], str]:
        request = Request(len(self.trials), given or {})
        [proposal] = self.sampler.ask(self.trials, [request], lambda _: False)
        return dict(proposal.values), proposal.drawn_by

    def add(
        self, values: Mapping[str, Scalar], value: float | None, state: TrialState, **curve: float
    ) -> None:
        ranges = self.spec.ranges()
        trial = optuna.trial.create_trial(
            state=state,
            value=value,
            params=dict(values),
            distributions={name: to_distribution(ranges[name]) for name in values},
            intermediate_values={int(epoch[1:]): loss for epoch, loss in curve.items()},
        )
        trial.number = len(self.trials)
        self.trials.append(trial)

    def go_on(self, n: int, loss: Any) -> list[tuple[dict[str, Scalar], str]]:
        found = []
        for _ in range(n):
            values, drawn_by = self.ask()
            self.add(values, loss(values), TrialState.COMPLETE)
            found.append((values, drawn_by))
        return found


def bowl(values: Mapping[str, Any]) -> float:
    return float((values["train.x"] - 0.3) ** 2 + 0.1 * values["train.y"])


def sources(found: Sequence[tuple[dict[str, Scalar], str]]) -> list[str]:
    return [drawn_by for _, drawn_by in found]


def test_ten_trials_by_the_sobol_sequence_then_the_model() -> None:
    assert sources(Search(LINE).go_on(13, bowl)) == ["sobol"] * 10 + ["model"] * 3


@pytest.mark.parametrize(("trials", "begins"), [(5, 6), (20, 6), (26, 8), (50, 10)])
def test_a_short_study_begins_with_a_third_of_its_trials(trials: int, begins: int) -> None:
    found = Search(LINE, budget={"trials": trials}).go_on(begins + 1, bowl)
    assert sources(found) == ["sobol"] * begins + ["model"]


def test_with_branches_it_begins_with_three_of_each_and_with_twenty_at_most() -> None:
    assert sources(Search(FORK).go_on(13, lambda v: len(str(v)))) == ["sobol"] * 12 + ["model"]
    both = {**FORK, "other": FORK["kind"]}
    assert sources(Search(both).go_on(21, lambda v: len(str(v)))) == ["sobol"] * 20 + ["model"]


BUILT_IN: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [32, 64, 128]}},
    "model": {
        "architecture": {
            "choices": {
                "mlp": {"width": {"low": 8, "high": 96}},
                "cnn": {"depth": {"low": 1, "high": 3}},
            }
        },
        "dropout": {"low": 0.0, "high": 0.5},
    },
}


def test_each_branch_begins_at_sweepers_own_defaults_or_what_is_nearest() -> None:
    rate = {"low": 1e-5, "high": 1e-1, "log": True}
    train = {"learning_rate": rate, "optimizer": {"choices": ["sgd", "rmsprop"]}}
    search = Search(train, **BUILT_IN)
    found = search.go_on(11, lambda v: len(str(v)))
    assert sources(found) == ["default"] * 2 + ["sobol"] * 8 + ["model"]
    for values, of_branch in zip(
        [dict(values) for values, _ in found[:2]],
        [{"cnn.depth": 2}, {"mlp.width": 96}],
        strict=True,
    ):
        [(name, wanted)] = of_branch.items()
        assert values.pop("train.optimizer") in ("sgd", "rmsprop")
        assert values.pop("train.learning_rate") == pytest.approx(1e-3)
        assert values == {
            "data.batch_size": 64,
            "model.architecture": name.split(".")[0],
            f"model.architecture.{name}": wanted,
            "model.dropout": 0.0,
        }


def test_a_default_that_is_forbidden_or_was_tried_is_left_out() -> None:
    space = {"train": {"learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}, **BUILT_IN}
    forbid = [{"model.architecture": "cnn", "data.batch_size": 64}]
    assert sources(Search(**space, forbid=forbid).go_on(3, len)) == ["default", "sobol", "sobol"]
    search = Search(**space)
    [(first, _)] = search.go_on(1, len)
    second, _ = search.ask({"model.architecture": "cnn"})
    assert first["model.architecture"] == second["model.architecture"] == "cnn"
    assert first != second


def test_it_finds_the_bottom_of_a_bowl() -> None:
    found = Search(LINE).go_on(25, bowl)
    assert min(bowl(values) for values, _ in found) < 0.002


def test_studies_of_another_seed_begin_elsewhere_and_processes_of_one_study_alike() -> None:
    first, again, other = (Search(LINE, seed=seed).ask()[0] for seed in (1, 1, 2))
    assert first == again != other


def test_where_nothing_is_searched_there_is_nothing_to_explain() -> None:
    search = Search({})
    search.add({}, 0.5, TrialState.COMPLETE)
    assert search.sampler.explain(search.trials, lambda _: False) is None


def test_equal_outcomes_teach_nothing() -> None:
    assert sources(Search(LINE).go_on(15, lambda _: 0.5)) == ["sobol"] * 15


def test_no_branch_is_starved() -> None:
    def loss(values: Mapping[str, Any]) -> float:
        return 0.1 if values["train.kind"] == "a" else 9.0 + values["train.kind"].encode()[0] / 99

    found = Search(FORK).go_on(60, loss)
    kinds = [values["train.kind"] for values, _ in found]
    # Half an equal share, less what the last trials have not evened out.
    assert min(kinds.count(kind) for kind in "abcd") >= 60 / 4 / 2 - 1


def test_the_best_untried_setting_is_not_of_a_branch_that_is_only_to_have_its_share() -> None:
    def loss(values: Mapping[str, Any]) -> float:
        return sum(at for at in values.values() if at != "a") if "a" in values.values() else 9.0

    search = Search(FORK)
    search.go_on(30, loss)
    drawn, told = [], []
    for _ in range(8):
        view = search.sampler.explain(search.trials, lambda _: False)
        assert view is not None
        told.append(view.setting["train.kind"])
        drawn += [values["train.kind"] for values, _ in search.go_on(1, loss)]
    assert {"b", "c", "d"} <= set(drawn)
    assert told == ["a"] * 8


def test_the_better_branch_is_searched_most() -> None:
    def loss(values: Mapping[str, Any]) -> float:
        if values["train.kind"] != "d":
            return 1.0 + 0.1 * math.sin(len(str(values)))
        return float((values["train.kind.d.d0"] - 0.6) ** 2)

    kinds = [values["train.kind"] for values, _ in Search(FORK).go_on(60, loss)]
    assert kinds.count("d") > 25


def test_pruned_trials_teach_before_one_is_complete() -> None:
    search = Search(LINE)
    for _ in range(10):
        values, _ = search.ask()
        search.add(values, None, TrialState.PRUNED, e1=bowl(values))
    values, drawn_by = search.ask()
    assert drawn_by == "model"


def test_where_trials_diverge_it_does_not_go() -> None:
    search = Search(LINE)
    n_beyond = 0
    for _ in range(40):
        values, _ = search.ask()
        if float(str(values["train.x"])) > 0.7:
            n_beyond += 1
            search.add(values, None, TrialState.PRUNED, e1=math.nan)
        else:
            search.add(values, 1 - float(str(values["train.x"])), TrialState.COMPLETE)
    assert n_beyond <= 9


def test_what_is_given_stays_and_the_rest_is_chosen_for_it() -> None:
    search = Search(FORK)
    search.go_on(14, lambda values: len(str(values)))
    values, _ = search.ask({"train.kind": "c", "train.kind.c.c1": 0.25})
    assert values["train.kind"] == "c"
    assert values["train.kind.c.c1"] == 0.25
    assert values.keys() == {"train.kind", "train.kind.c.c0", "train.kind.c.c1"}


def test_it_begins_by_the_sequence_also_where_little_is_allowed() -> None:
    eight = {"choices": list(range(1, 9))}
    forbid = [
        {"train.a": a, "train.b": b} for a in range(1, 9) for b in range(1, 9) if (a, b) != (3, 5)
    ]
    search = Search(dict.fromkeys("abcd", eight), forbid=forbid)
    assert sources(search.go_on(12, lambda v: abs(v["train.c"] - 4) + v["train.d"])) == [
        *["sobol"] * 10, *["model"] * 2,
    ]  # fmt: skip


def test_several_metrics_spread_along_the_front() -> None:
    objective = {"metric": ["loss", "size"], "direction": ["minimize", "minimize"]}
    search = Search(LINE, objective=objective)
    ranges = search.spec.ranges()
    for number in range(30):
        values, _ = search.ask()
        x, y = float(str(values["train.x"])), float(str(values["train.y"]))
        trial = optuna.trial.create_trial(
            values=[x**2 + y, (x - 1) ** 2 + y],
            params=dict(values),
            distributions={name: to_distribution(ranges[name]) for name in values},
        )
        trial.number = number
        search.trials.append(trial)
    late = [trial.params for trial in search.trials[15:]]
    # The front is y = 0, from x = 0 to x = 1.
    assert sum(params["train.y"] < 0.1 for params in late) >= 10
    assert min(params["train.x"] for params in late) < 0.25
    assert max(params["train.x"] for params in late) > 0.75
