import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.commands.status import show_csv, show_status, watch_status
from sweeper.errors import StudyError, TrialPruned
from sweeper.study.agents import AgentInfo, register_agent
from sweeper.study.attributes import settle_data
from sweeper.study.code_versions import keep_code_version
from sweeper.study.lane_counts import BestLanes, keep_best_lanes
from sweeper.study.presence import Presence
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import DataInfo, Task
from tests.support.sweep_studies import (
    AGENT,
    CONDITIONAL,
    begin,
    claim_trial,
    epoch,
    raises,
    reports,
    run_all,
    run_claimed,
    run_trial,
    spec_of,
)


def shown(study: SweepStudy) -> list[str]:
    return show_status(study.spec, study.paths.root, as_json=False).splitlines()


def shown_json(study: SweepStudy) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(show_status(study.spec, study.paths.root, as_json=True))
    return found


@contextmanager
def agent_at_work(study: SweepStudy, begun_s: float = 0.0) -> Iterator[None]:
    """As an agent of this machine shows itself."""
    presence = Presence(study.paths.presence_dir, AGENT)
    study.leases.renew(AGENT)
    info = AgentInfo("node7", os.getpid(), "", ["cpu", "cpu"], "", begun_s)
    register_agent(study.attributes, AGENT, info)
    yield
    presence.leave()


def test_a_study_that_has_not_begun_says_how_it_begins(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    for as_json in (False, True):
        with pytest.raises(StudyError) as caught:
            show_status(spec, tmp_path / "mlruns", as_json=as_json)
        assert str(caught.value) == f"study 'small' has not begun: sweeper run {spec.path}"
    assert not (tmp_path / "mlruns").exists()


def accuracy_by_rate(study: SweepStudy, n_trials: int) -> None:
    """Run trials whose accuracy has its top at a learning rate of 0.01."""

    def body(claim: RunningTrial) -> None:
        rate = float(claim.study.trials()[claim.number].params["train.learning_rate"])
        claim.report(epoch(1, 0.9 - 0.1 * math.log10(rate / 0.01) ** 2))

    for _ in range(n_trials):
        run_trial(study, body)


def test_what_the_model_has_learnt_is_shown_once_there_is_one(tmp_path: Path) -> None:
    train = {
        "epochs": 3,
        "momentum": {"low": 0.0, "high": 0.9},
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    }
    study = begin(tmp_path, sampler={"name": "auto"}, budget={"trials": 20}, train=train)
    accuracy_by_rate(study, 5)
    assert not [line for line in shown(study) if line.startswith("model")]
    assert shown_json(study)["model"] is None
    accuracy_by_rate(study, 10)
    lines, found = shown(study), shown_json(study)["model"]
    assert "drawn    1 default, 5 sobol, 9 model" in lines
    at = next(n for n, line in enumerate(lines) if line.startswith("model"))
    assert lines[at].startswith("model    what matters, by length: train.learning_rate 0.")
    assert re.fullmatch(
        r" {9}expects val_accuracy 0\.\d+ of the best untried setting, better than the best with "
        r"a chance of \d+%",
        lines[at + 1],
    )
    assert list(found["lengths"]) == ["train.learning_rate", "train.momentum"]
    assert found["setting"].keys() == {"train.learning_rate", "train.momentum"}
    assert found["setting"]["train.learning_rate"] == pytest.approx(0.01, rel=0.3)
    assert found["expected"] == pytest.approx(0.9, abs=0.01)
    assert 0 <= found["chance"] <= 1


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("classification", "classification; the commonest class alone reaches val_accuracy 0.25"),
        ("regression", "regression; the mean alone reaches val_rmse 0.25"),
        ("multilabel", "multilabel"),
    ],
)
def test_what_is_learned_and_must_be_beaten_is_shown_before_the_best(
    tmp_path: Path, task: Task, line: str
) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5))
    assert shown_json(study)["naive"] is None
    naive = None if task == "multilabel" else 0.25
    data = DataInfo("made", "0123456789abcdef", (2,), 4, 90, 10, task=task, naive=naive)
    settle_data(study.attributes, "made", data)
    lines = shown(study)
    best = next(n for n, line in enumerate(lines) if line.startswith("best "))
    assert lines[best - 1] == f"task     {line}"
    assert (shown_json(study)["task"], shown_json(study)["naive"]) == (task, naive)


def test_a_study_that_runs_shows_who_works_on_it(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5))
    run_trial(study, reports(0.75))
    claim_trial(study)
    with agent_at_work(study):
        lines = shown(study)
        found = shown_json(study)
    assert lines[0] == "study    small"
    assert lines[1].startswith("goal     2 of 10 trials finished, ")
    assert lines[1].endswith(" left")
    assert lines[2] == "trials   2 complete, 1 running, 7 waiting"
    agent = f"agents   node7 (pid {os.getpid()}), 2 x cpu, seen "
    assert lines[3].startswith(agent)
    assert lines[4].startswith("sampler  random: ")
    assert lines[5] == "drawn    2 random"
    assert lines[6] == "pruner   none: nothing is pruned"
    assert lines[7].startswith("time     ")
    assert lines[8] == "best     trial 1: val_accuracy 0.75"
    assert lines[9].split()[0] == "train.learning_rate"
    assert [(agent["name"], agent["devices"]) for agent in found["agents"]] == [
        (AGENT, ["cpu", "cpu"])
    ]
    assert found["trials_per_hour"] > 0
    assert found["seconds_left"] > 0
    assert re.fullmatch(r"goal .* finished, [\d,]+ an hour, about \d+s left", lines[1])


def test_without_an_agent_there_is_neither_pace_nor_agent(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5))
    lines = shown(study)
    assert lines[1] == "goal     1 of 10 trials finished"
    assert lines[3].startswith("sampler  ")
    assert (shown_json(study)["agents"], shown_json(study)["trials_per_hour"]) == ([], None)


def test_the_best_are_shown_beside_each_other_pruned_ones_too(tmp_path: Path) -> None:
    def pruned(claim: RunningTrial) -> None:
        reports(0.8, 0.5)(claim)
        raise TrialPruned("by hand")

    study = begin(tmp_path, budget={"trials": 5})
    for body in (reports(0.5, 0.7), pruned, reports(0.9, float("nan")), reports(0.2, 0.75, 0.1)):
        run_trial(study, body)
    run_trial(study, raises(ValueError("no luck")))
    root = study.paths.root
    lines = show_status(study.spec, root, top=2).splitlines()[-3:]
    rates = [trial.params["train.learning_rate"] for trial in study.trials()[:4]]
    assert [line.split() for line in lines] == [
        ["top", "trial", "state", "val_accuracy", "epochs", "learning_rate"],
        ["1", "pruned", "0.8", "2", f"{rates[1]:.3g}"],
        ["3", "complete", "0.75", "3", f"{rates[3]:.3g}"],
    ]
    found = json.loads(show_status(study.spec, root, as_json=True, top=3))
    assert [row["number"] for row in found["top"]] == [1, 3, 0]
    assert "top" not in shown_json(study)


def test_before_the_first_value_there_is_no_best(tmp_path: Path) -> None:
    study = begin(tmp_path)
    last = show_status(study.spec, study.paths.root, top=2).splitlines()[-1]
    assert last == "top      no trial has reported anything yet"


def test_csv_has_a_row_a_trial_or_the_best(tmp_path: Path) -> None:
    study = begin(tmp_path, model=CONDITIONAL, budget={"trials": 3})
    with pytest.raises(StudyError, match="study 'other' has not begun"):
        show_csv(replace(study.spec, name="other"), study.paths.root)
    run_trial(study, reports(0.5))
    run_trial(study, raises(ValueError('no, "really"')))
    run_trial(study, reports(0.5, 0.75))
    rows = list(csv.DictReader(io.StringIO(show_csv(study.spec, study.paths.root))))
    assert list(rows[0]) == [
        *("number", "state", "val_accuracy", "epochs", "seconds", "cause", "drawn_by"),
        *study.spec.ranges(),
    ]
    table = [(row["number"], row["state"], row["val_accuracy"]) for row in rows[:3]]
    assert table == [("0", "complete", "0.5"), ("1", "failed", ""), ("2", "complete", "0.75")]
    assert rows[1]["cause"] == 'ValueError: no, "really"'
    params = study.trials()[0].params
    for name in study.spec.ranges():
        assert rows[0][name] == str(params.get(name, ""))
    best = csv.DictReader(io.StringIO(show_csv(study.spec, study.paths.root, top=1)))
    assert [row["number"] for row in best] == ["2"]


def test_failures_are_shown_by_cause_with_where_they_come_from(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for _ in range(2):
        run_trial(study, raises(ValueError("no luck")))
    run_trial(study, raises(ZeroDivisionError("by zero")))
    lines = shown(study)
    at = lines.index("failed   2: ValueError: no luck")
    assert lines[at + 1] == "         (exception)"
    assert "         ValueError: no luck" in lines[at + 2 :]
    assert "failed   1: ZeroDivisionError: by zero" in lines
    assert shown_json(study)["failures"] == [
        {"cause": "ValueError: no luck", "kind": "exception", "trials": 2, "retries": 0},
        {"cause": "ZeroDivisionError: by zero", "kind": "exception", "trials": 1, "retries": 0},
    ]


def test_a_trial_that_was_tried_again_says_how_often(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, raises(MemoryError("too big")))
    trial = claim_trial(study, alone=True)
    assert trial is not None
    run_claimed(study, trial, raises(MemoryError("too big")))
    lines = shown(study)
    at = lines.index("failed   1: MemoryError: too big, 2 times")
    assert lines[at + 1] == "         (out_of_memory, tried again 1 x)"


def test_several_metrics_show_their_front(tmp_path: Path) -> None:
    objective = {
        "metric": ["val_accuracy", "epoch_seconds"],
        "direction": ["maximize", "minimize"],
    }
    study = begin(tmp_path, objective=objective)
    for accuracy, seconds in ((0.5, 1.0), (0.75, 2.0), (0.25, 3.0)):

        def body(
            trial: RunningTrial, accuracy: float = accuracy, seconds: float = seconds
        ) -> None:
            trial.report(epoch(1, accuracy, epoch_seconds=seconds))

        run_trial(study, body)
    best = [line for line in shown(study) if line.startswith("best ")]
    assert best == [
        "best     trial 0: val_accuracy 0.5, epoch_seconds 1",
        "best     trial 1: val_accuracy 0.75, epoch_seconds 2",
    ]


def test_watching_a_study_at_its_goal_is_one_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path, budget={"trials": 2})
    run_all(study, reports(0.5))
    watch_status(study.spec, study.paths.root, as_json=True)
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["trials"] == {"complete": 2}
    watch_status(study.spec, study.paths.root, as_json=False)
    assert "goal     2 of 2 trials finished" in capsys.readouterr().out


def test_watching_what_nobody_will_begin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="study 'small' has not begun: sweeper run"):
        watch_status(spec_of(tmp_path), tmp_path / "mlruns", as_json=True)


def test_versions_of_the_code_are_counted_once_there_are_two(tmp_path: Path) -> None:
    study = begin(tmp_path)
    keep_code_version(study.attributes, "0a1b", 0)
    assert not any(line.startswith("code") for line in shown(study))
    keep_code_version(study.attributes, "ff00", 7)
    lines = shown(study)
    at = lines.index("code     trials ran with 2 versions of it, and may not compare:")
    assert lines[at + 1 : at + 3] == ["         0a1b since trial 0", "         ff00 since trial 7"]
    assert shown_json(study)["code_versions"] == {"0a1b": 0, "ff00": 7}


def test_how_many_trials_at_once_proved_best_is_shown_for_each_device(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert shown_json(study)["lanes"] == {}
    assert not any(line.startswith("lanes") for line in shown(study))
    found = {
        "NVIDIA H100": BestLanes(16, [(1, 0.93), (2, 1.81), (16, 12.4), (32, 12.9)]),
        "NVIDIA T4": BestLanes(1, [(1, 0.25), (2, 0.26)]),
    }
    for device, best in found.items():
        keep_best_lanes(study.attributes, device, best)
    lines = shown(study)
    at = lines.index(
        "lanes    NVIDIA H100: 16 trials at once: 1, 2, 16, 32 did 0.93, 1.81, 12.4, 12.9 epochs "
        "a second"
    )
    assert lines[at + 1] == (
        "         NVIDIA T4: one trial at a time: 1, 2 did 0.25, 0.26 epochs a second"
    )
    assert shown_json(study)["lanes"]["NVIDIA T4"] == {
        "n": 1,
        "epochs_per_s": {"1": 0.25, "2": 0.26},
    }


def test_the_pruner_and_a_pruned_trial_that_was_better_than_the_best_are_shown(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path, pruner={"name": "asha"})
    run_trial(study, reports(0.5, 0.6, 0.7))
    run_trial(study, reports(0.8, 0.5))
    lines = shown(study)
    assert (
        "pruner   asha: first rung after epoch 2 of 3, auto takes 1/15 of the longest trial, "
        "at least 2"
    ) in lines
    at = lines.index(
        "pruned   trial 1: val_accuracy 0.8, better than any complete one; it was pruned after "
        "epoch 2, so it has no model"
    )
    assert lines[at - 2].startswith("best     trial 0")
    assert lines[at + 1].split()[0] == "train.learning_rate"
    assert lines[at + 2].startswith(
        "         to train it to its end once the goal is reached: set budget.trials: 11, "
    )
    found = shown_json(study)
    assert found["best_pruned"]["trial"] == 1
    assert (found["pruner"]["min_epochs"], found["pruner"]["epochs"]) == (2, 3)
