from pathlib import Path

import pytest

from sweeper.study.attributes import state_of
from sweeper.study.study import SweepStudy
from sweeper.study.tell import end_trial, put_back
from sweeper.trial import Outcome, TrialState
from tests.support.sweep_studies import (
    begin,
    claim_trial,
    epoch,
    reports,
    run_trial,
)

GOOD = reports(0.5, 0.5, 0.5)


def test_a_trial_that_waits_again_is_the_same_one(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, GOOD, is_stopping=lambda: True)
    before = study.trials()[0]
    again = claim_trial(study, "another")
    assert again is not None
    assert (again.number, again.params) == (0, before.params)
    assert again.intermediate_values == {1: 0.5}
    assert again.user_attrs["sweeper.resumed"] == 1
    put_back(study, 0)
    assert study.trials()[0].user_attrs["sweeper.resumed"] == 2


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def test_an_end_can_be_written_for_every_state(study: SweepStudy) -> None:
    for state in ("complete", "pruned", "diverged", "failed"):
        trial = claim_trial(study, "worker")
        assert trial is not None
        end_trial(study, trial.number, Outcome(TrialState(state), epoch(1, 0.5), "why"))
    ended = study.trials()[:4]
    assert [state_of(trial) for trial in ended] == ["complete", "pruned", "diverged", "failed"]
    assert [trial.values for trial in ended] == [[0.5], [0.5], None, None]
