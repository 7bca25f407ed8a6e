from pathlib import Path

import pytest

from sweeper.study.attributes import Attr, state_of
from sweeper.study.ownership import Ownership
from sweeper.study.study import SweepStudy
from sweeper.study.tell import end_trial, put_back
from sweeper.trial import FailureKind, Outcome, TrialState
from tests.support.sweep_studies import (
    begin,
    claim_trial,
    epoch,
    put_checkpoint,
    reports,
    run_trial,
)


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def test_a_trial_that_waits_again_is_the_same_one(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.5, 0.5), is_stopping=lambda: True)
    before = study.trials()[0]
    again = claim_trial(study, "another")
    assert again is not None
    assert (again.number, again.params) == (0, before.params)
    assert again.intermediate_values == {1: 0.5}
    assert again.user_attrs["sweeper.resumed"] == 1
    put_back(study, 0)
    assert study.trials()[0].user_attrs["sweeper.resumed"] == 2


def test_an_end_can_be_written_for_every_state(study: SweepStudy) -> None:
    for state in ("complete", "pruned", "diverged", "failed"):
        trial = claim_trial(study, "worker")
        assert trial is not None
        end_trial(study, trial.number, Outcome(TrialState(state), epoch(1, 0.5), "why"))
    ended = study.trials()[:4]
    assert [state_of(trial) for trial in ended] == ["complete", "pruned", "diverged", "failed"]
    assert [trial.values for trial in ended] == [[0.5], [0.5], None, None]


def test_an_end_leaves_what_people_ask_for_in_the_storage(study: SweepStudy) -> None:
    claim_trial(study)
    outcome = Outcome(
        TrialState.FAILED,
        None,
        "MemoryError: 70 GiB, 2 times",
        "a traceback, which the log has",
        FailureKind.OUT_OF_MEMORY,
        retries=1,
        seconds={"step": 2.5},
    )
    end_trial(study, 0, outcome)
    attributes = study.trials()[0].user_attrs
    assert {name: attributes[name] for name in attributes if name != Attr.OWNER} == {
        "sweeper.state": "failed",
        "sweeper.cause": "MemoryError: 70 GiB, 2 times",
        "sweeper.failure": "out_of_memory",
        "sweeper.seconds": {"step": 2.5},
    }


def test_a_trial_that_ended_leaves_neither_checkpoint_nor_lock(study: SweepStudy) -> None:
    trial = claim_trial(study)
    assert trial is not None
    checkpoint = put_checkpoint(study)
    with Ownership.of(study, trial).settling():
        assert study.paths.trial_lock(0).exists()
        end_trial(study, 0, Outcome(TrialState.COMPLETE, epoch(1, 0.5)))
    assert not checkpoint.exists()
    assert not study.paths.trial_lock(0).exists()


def test_a_trial_that_waits_again_keeps_its_checkpoint(study: SweepStudy) -> None:
    claim_trial(study)
    checkpoint = put_checkpoint(study)
    put_back(study, 0)
    assert checkpoint.exists()


def test_of_several_metrics_each_is_told(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    study = begin(tmp_path, objective=objective)
    claim_trial(study)
    end_trial(study, 0, Outcome(TrialState.COMPLETE, epoch(1, 0.5, val_loss=1.5)))
    assert study.trials()[0].values == [0.5, 1.5]


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_a_model_that_its_code_logged_is_kept_of_a_complete_trial_alone(
    study: SweepStudy, state: str
) -> None:
    trial = claim_trial(study)
    assert trial is not None
    study.paths.trial_dir(0).mkdir(parents=True)
    for path in study.paths.model_files(0):
        path.write_bytes(b"weights")
    end_trial(study, 0, Outcome(TrialState(state), epoch(1, 0.5), "why"))
    kept = [path.exists() for path in study.paths.model_files(0)]
    assert kept == [state == "complete"] * 2
