import json
import shutil
from pathlib import Path

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from sweeper.errors import ExitCode, TrialPruned
from sweeper.study.best import Best, BestPruned
from sweeper.study.failures import Failure
from sweeper.study.result import Result
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    PRUNED,
    Body,
    begin,
    begin_in_memory,
    claim_trial,
    epoch,
    raises,
    reports,
    run_claimed,
    run_trial,
)

TWO_METRICS = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}


def one_of_each(folder: Path) -> SweepStudy:
    """Six trials: two complete, one of each other end, one interrupted."""
    study = begin(folder, enqueue=[{"train.learning_rate": 0.05}], budget={"trials": 6})
    run_trial(study, reports(0.5, 0.75, 0.25))
    run_trial(study, reports(0.5, 0.5, 0.5))
    run_trial(study, prune_after_two)
    run_trial(study, reports(float("nan")))
    run_trial(study, raises(ValueError("no")))
    run_trial(study, reports(0.1, 0.1), is_stopping=lambda: True)
    return study


def prune_after_two(claim: RunningTrial) -> None:
    reports(0.4, 0.3)(claim)
    raise TrialPruned("by hand")


def test_a_study_that_has_just_begun_has_nothing_to_show(tmp_path: Path) -> None:
    result = Result(begin(tmp_path))
    assert (result.name, result.goal, result.n_finished) == ("small", 10, 0)
    assert (result.best, result.front, result.failures) == (None, [], [])
    assert result.exit_code is None
    assert list(result.trials()["state"]) == ["waiting"] * 10


def test_the_best_trial_comes_with_its_values_and_settings(tmp_path: Path) -> None:
    result = Result(one_of_each(tmp_path), ExitCode.STOPPED)
    best = Best(0, {"val_accuracy": 0.75}, {"train.learning_rate": 0.05})
    assert result.best == best
    assert result.front == [best]
    assert result.n_finished == 4
    assert result.exit_code == ExitCode.STOPPED


def test_settings_stand_in_the_order_of_the_study_file(tmp_path: Path) -> None:
    ranges = {name: {"low": 0.1, "high": 0.9} for name in ("momentum", "learning_rate", "l2")}
    study = begin(tmp_path, train={"epochs": 1, **ranges})
    names = [f"train.{name}" for name in ranges]
    params = dict.fromkeys(reversed(names), 0.5)
    space: dict[str, BaseDistribution] = {name: FloatDistribution(0.1, 0.9) for name in params}
    stored = create_trial(value=0.5, params=params, distributions=space)
    study.storage.create_new_trial(study.study_id, stored)
    result = Result(study)
    assert result.best is not None
    assert list(result.best.params) == names
    assert list(result.trials().columns[-3:]) == names


def test_json_holds_what_a_script_wants_to_know(tmp_path: Path) -> None:
    shown = json.loads(json.dumps(Result(one_of_each(tmp_path)).to_json(), allow_nan=False))
    assert shown.pop("seconds").keys() >= {"claim", "report"}
    assert 0 < shown.pop("harness_share") <= 1
    assert shown == {
        "study": "small",
        "goal": 6,
        "finished": 4,
        "trials": {"complete": 2, "diverged": 1, "failed": 1, "pruned": 1, "waiting": 2},
        "agents": [],
        "trials_per_hour": None,
        "seconds_left": None,
        "sampler": {"name": "random", "why": "named in the study file"},
        "warm_start": "",
        "drawn_by": {"enqueue": 1, "random": 5},
        "code_versions": {},
        "lanes": {},
        "model": None,
        "pruner": {
            "name": "none",
            "min_epochs": None,
            "epochs": None,
            "why": "nothing is pruned",
        },
        "task": None,
        "naive": None,
        "best": [
            {
                "trial": 0,
                "values": {"val_accuracy": 0.75},
                "params": {"train.learning_rate": 0.05},
            }
        ],
        "best_pruned": None,
        "failures": [{"cause": "ValueError: no", "kind": "exception", "trials": 1, "retries": 0}],
    }


def test_trials_are_a_table_with_a_row_each(tmp_path: Path) -> None:
    study = one_of_each(tmp_path)
    table = Result(study).trials()
    assert list(table.columns) == [
        "number",
        "state",
        "val_accuracy",
        "epochs",
        "seconds",
        "cause",
        "drawn_by",
        "train.learning_rate",
    ]
    assert list(table["number"]) == list(range(7))
    assert list(table["state"]) == [
        "complete",
        "complete",
        "pruned",
        "diverged",
        "failed",
        "waiting",
        "waiting",
    ]
    assert list(table["epochs"]) == [3, 3, 2, 1, 0, 1, 0]
    assert list(table["val_accuracy"][:3]) == [0.75, 0.5, 0.4]
    assert table["val_accuracy"][3:].isna().all()
    assert list(table["cause"][2:5]) == [
        "by hand",
        "val_accuracy is nan after epoch 1",
        "ValueError: no",
    ]
    assert list(table["drawn_by"]) == ["enqueue", *["random"] * 5, ""]
    assert table["train.learning_rate"][0] == 0.05
    assert (table["seconds"][:5] >= 0).all()


def test_several_metrics_have_a_front_in_place_of_a_best_trial(tmp_path: Path) -> None:
    study = begin(tmp_path, objective=TWO_METRICS, budget={"trials": 4})
    # The third is beaten by the first, and the fourth has no value.
    for accuracy, loss in ((0.9, 0.5), (0.5, 0.1), (0.8, 0.6), (0.9, float("inf"))):

        def body(claim: RunningTrial, accuracy: float = accuracy, loss: float = loss) -> None:
            for number in (1, 2, 3):
                claim.report(epoch(number, accuracy, val_loss=loss))

        run_trial(study, body)
    result = Result(study)
    assert result.best is None
    assert [(best.number, best.values) for best in result.front] == [
        (0, {"val_accuracy": 0.9, "val_loss": 0.5}),
        (1, {"val_accuracy": 0.5, "val_loss": 0.1}),
    ]
    table = result.trials()
    assert list(table.columns[2:4]) == ["val_accuracy", "val_loss"]
    assert list(table["epochs"]) == [3, 3, 3, 1]
    assert result.counts == {TrialState.COMPLETE: 3, TrialState.DIVERGED: 1}


def test_failures_are_grouped_with_the_last_traceback_the_most_frequent_first(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path)
    run_trial(study, raises(KeyError("once")))
    for _ in range(2):
        run_trial(study, raises(ValueError("twice")))
    twice, once = Result(study).failures
    assert (twice.cause, twice.n_trials) == ("ValueError: twice", 2)
    assert twice.details.endswith("ValueError: twice")
    assert once == Failure("KeyError: 'once'", "exception", 1, 0, once.details)


def test_a_result_shows_the_study_as_it_is_now(tmp_path: Path) -> None:
    study = begin(tmp_path)
    result = Result(study)
    assert result.n_finished == 0
    run_trial(study, reports(0.5))
    assert result.n_finished == 1


def test_retries_are_told_without_the_logs_of_the_failed_trials(tmp_path: Path) -> None:
    study = begin(tmp_path)

    def no_memory(claim: RunningTrial) -> None:
        raise MemoryError

    for alone in (False, True):
        trial = claim_trial(study, alone=alone)
        assert trial is not None
        run_claimed(study, trial, no_memory)
    shutil.rmtree(study.paths.trials_dir)
    [failure] = Result(study).failures
    assert (failure.kind, failure.n_trials, failure.n_retries) == ("out_of_memory", 1, 1)
    assert failure.details == ""


def test_the_best_trial_is_complete_and_best_in_the_studys_direction(tmp_path: Path) -> None:
    for direction, best in (("maximize", 2), ("minimize", 1)):
        objective = {"metric": "val_accuracy", "direction": direction}
        study = begin_in_memory(tmp_path, objective=objective)
        assert Result(study).best is None
        run_trial(study, PRUNED)
        assert Result(study).best is None
        for value in (0.3, 0.8, 0.5):
            run_trial(study, reports(value))
        found = Result(study).best
        assert found is not None
        assert found.number == best


def test_a_pruned_trial_that_was_better_than_the_best_is_shown_until_its_setting_is_finished(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5, 0.6, 0.4))
    run_trial(study, reports(0.9, float("nan")))  # diverged is not pruned
    for value in (0.55, 0.7, 0.8):
        run_trial(study, pruned_after_two(value))
    found = Result(study).best_pruned
    params = study.trials()[4].params
    assert found == BestPruned(4, {"val_accuracy": 0.8}, params, 2)
    assert Result(study).to_json()["best_pruned"] == {
        "trial": 4,
        "values": {"val_accuracy": 0.8},
        "params": params,
        "epochs": 2,
    }
    longer = begin(tmp_path, enqueue=[params], budget={"trials": 11})
    for _ in range(6):
        run_trial(longer, reports(0.1))
    assert {trial.params["train.learning_rate"] for trial in longer.trials()[5:]} >= set(
        params.values()
    )
    found = Result(longer).best_pruned
    assert found is not None
    assert found.number == 3


def pruned_after_two(value: float) -> Body:
    def body(claim: RunningTrial) -> None:
        reports(value, value / 2)(claim)
        raise TrialPruned("by hand")

    return body


def test_without_a_complete_trial_the_best_pruned_one_is_shown(tmp_path: Path) -> None:
    objective = {"metric": "val_accuracy", "direction": "minimize"}
    study = begin_in_memory(tmp_path, objective=objective)
    run_trial(study, PRUNED)  # without any value
    assert Result(study).best_pruned is None
    run_trial(study, pruned_after_two(0.8))
    found = Result(study).best_pruned
    assert found is not None
    assert (found.number, found.values) == (1, {"val_accuracy": 0.4})
    run_trial(study, reports(0.4))
    assert Result(study).best_pruned is None


def test_a_notebook_shows_how_far_it_is_and_the_best_trials(tmp_path: Path) -> None:
    result = Result(one_of_each(tmp_path))
    assert (
        repr(result) == "<sweeper.Result small: 4 of 6 trials, best val_accuracy 0.75 (trial 0)>"
    )
    page = result._repr_html_()
    assert "<p>small: 4 of 6 trials, best val_accuracy 0.75 (trial 0)</p>" in page
    assert "<th>number</th><th>state</th><th>val_accuracy</th><th>epochs</th>" in page
    assert page.index("<td>0.75</td>") < page.index("<td>0.5</td>") < page.index("<td>0.4</td>")


def test_of_a_study_without_a_trial_a_notebook_shows_that(tmp_path: Path) -> None:
    assert repr(Result(begin_in_memory(tmp_path))) == "<sweeper.Result small: 0 of 10 trials>"


def test_optunas_study_has_the_same_trials(tmp_path: Path) -> None:
    result = Result(one_of_each(tmp_path))
    assert result.study.best_trial.number == 0
    assert len(result.study.trials) == len(result.rows())


def test_the_best_trial_loads_its_model_from_where_it_is_told(tmp_path: Path) -> None:
    study = one_of_each(tmp_path)
    best = Result(study).loading(lambda study, number: (study.spec.name, number)).best
    assert best is not None
    assert best.load_model() == ("small", 0)
