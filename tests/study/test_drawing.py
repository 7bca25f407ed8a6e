"""What several trials run with, drawn in one visit."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import StudyError, TrialLost
from sweeper.study.drawing import draw_trials
from sweeper.study.running_trial import RunningTrial, draw_together
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.timing import TimeLedger
from tests.support.disk_calls import note_disk_calls
from tests.support.sweep_studies import begin, claim_trial, reports, run_trial

SPACE: dict[str, Any] = {
    "model": {"architecture": "mlp", "depth": {"low": 1, "high": 4}},
    "train": {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
}
SPACE_KEYS = ("model.depth", "train.learning_rate")


def begin_with_history(folder: Path, sampler: str) -> SweepStudy:
    study = begin(folder, sampler={"name": sampler}, budget={"trials": 30}, **SPACE)
    for accuracy in (0.3, 0.7, 0.5, 0.4, 0.9, 0.6, 0.2, 0.8, 0.65, 0.55, 0.45):
        run_trial(study, reports(accuracy))
    return study


@pytest.mark.parametrize("sampler", ["random", "tpe", "conditional_gp"])
def test_they_are_what_they_are_drawn_one_by_one(sampler: str, tmp_path: Path) -> None:
    together = begin_with_history(tmp_path / "together", sampler)
    claimed = together.queue.claim("agent", "worker", n=4)
    draw_trials(together, claimed)
    alone = begin_with_history(tmp_path / "alone", sampler)
    for trial in alone.queue.claim("agent", "worker", n=4):
        draw_trials(alone, [trial])
    found, expected = (study.trials()[11:15] for study in (together, alone))
    assert [trial.params for trial in found] == [trial.params for trial in expected]
    assert [trial.user_attrs for trial in found] == [trial.user_attrs for trial in expected]
    assert all(trial.params.keys() == {*SPACE_KEYS} for trial in found)


def test_they_take_one_write_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path, **SPACE)
    claimed = study.queue.claim("agent", "worker", n=5)
    done = note_disk_calls(monkeypatch)
    drawn, asking_s = draw_trials(study, claimed)
    assert done == [("fsync", study.paths.journal)]
    assert len(drawn) == 5
    assert asking_s > 0
    assert [trial.params for trial in study.trials()[:5]] == [each.searched for each in drawn]


def test_whose_trial_was_taken_over_is_told(tmp_path: Path) -> None:
    study = begin(tmp_path, **SPACE)
    claimed = study.queue.claim("agent", "worker", n=2)
    put_back(study, 1)
    assert claim_trial(study, "another")
    with pytest.raises(TrialLost, match="trial 1 was taken over"):
        draw_trials(study, claimed)
    assert [trial.params for trial in study.trials()[:2]] == [{}, {}]


def running(study: SweepStudy, n: int) -> list[RunningTrial]:
    claimed = study.queue.claim("agent", "worker", n=n)
    return [
        RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger())
        for trial in claimed
    ]


def test_one_that_cannot_be_drawn_leaves_the_others_to_themselves(tmp_path: Path) -> None:
    study = begin(tmp_path, **SPACE)
    trial_id = study.trial_id(1)
    study.storage.set_trial_system_attr(trial_id, "fixed_params", {"model.depth": 99})
    trials = running(study, 3)
    draw_together(trials)
    assert [trial.params for trial in study.trials()[:3]] == [{}, {}, {}]
    assert trials[0].draw().params.keys() >= {*SPACE_KEYS}
    with pytest.raises(StudyError, match="trial 1 was enqueued with model.depth"):
        trials[1].draw()
    assert trials[2].draw().params.keys() >= {*SPACE_KEYS}


def test_what_was_drawn_together_is_not_drawn_again(tmp_path: Path) -> None:
    study = begin(tmp_path, **SPACE)
    trials = running(study, 3)
    draw_together(trials)
    before = study.paths.journal.read_bytes()
    for trial in trials:
        params = study.trials()[trial.number].params
        assert {name: trial.draw().params[name] for name in params} == params
        assert trial.drawn_by == "random"
        assert trial.n_epochs == 3
        assert trial.asking_s == trials[0].asking_s > 0
    assert study.paths.journal.read_bytes() == before
