"""What a trial's code logs beside epochs, in its event log."""

from pathlib import Path

import pytest

from sweeper.errors import TrialLost
from sweeper.events import FileLogged, ModelLogged, TagsSet
from sweeper.study.recovery import reclaim_orphans
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import begin, claim_trial, epoch, kinds, log, run_trial

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def logs(content: str, note: str) -> list[FileLogged | TagsSet]:
    return [FileLogged(1.0, "plots/roc.png", content), TagsSet(1.0, {"note": note, "rows": "3"})]


def test_a_trial_that_goes_on_logs_again_what_is_new_alone(study: SweepStudy) -> None:
    def first(claim: RunningTrial) -> None:
        for event in logs(ONE, "x"):
            claim.log(event)
        claim.report(epoch(1, 0.5))

    def second(claim: RunningTrial) -> None:
        assert claim.tags == {"note": "x", "rows": "3"}
        for event in [*logs(ONE, "x"), *logs(TWO, "y"), *logs(TWO, "y")]:
            claim.log(event)
        claim.report(epoch(2, 0.5))

    assert run_trial(study, first, is_stopping=lambda: True) == TrialState.WAITING
    assert run_trial(study, second) == TrialState.COMPLETE
    told = [event for event in log(study) if isinstance(event, FileLogged | TagsSet)]
    assert told == [*logs(ONE, "x"), *logs(TWO, "y")]


def test_a_model_is_logged_as_often_as_it_is_said(study: SweepStudy) -> None:
    def body(claim: RunningTrial) -> None:
        claim.log(ModelLogged(1.0, "state_dict", "own.Net"))
        claim.log(ModelLogged(1.0, "state_dict", "own.Net"))
        claim.report(epoch(1, 0.5))

    run_trial(study, body)
    assert kinds(study) == ["Started", "ModelLogged", "ModelLogged", "EpochMetrics", "Ended"]


def test_a_trial_that_was_taken_over_logs_no_more(study: SweepStudy) -> None:
    def lose(claim: RunningTrial) -> None:
        reclaim_orphans(study, "it seemed dead")
        assert claim_trial(study, "successor")
        claim.log(FileLogged(1.0, "roc.png", ONE))

    with pytest.raises(TrialLost):
        run_trial(study, lose)
    assert kinds(study) == ["Started", "Interrupted"]
