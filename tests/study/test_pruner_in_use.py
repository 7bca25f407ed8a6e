"""The pruner of a study is told how long a trial is, the same in all workers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import TrialInterrupted, TrialPruned
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import Body, begin_in_memory, reports, run_trial

#: Only the function knows how many epochs it has.
FUNCTION = {"function": "my:run", "learning_rate": {"low": 0.001, "high": 0.1}}


def begin(folder: Path, train: dict[str, Any], **pruner: Any) -> SweepStudy:
    return begin_in_memory(
        folder, pruner={"name": "asha", **pruner}, train=train, budget={"trials": 40}
    )


def another_worker(study: SweepStudy) -> SweepStudy:
    """The study as another process sees it."""
    return SweepStudy(study.spec, study.paths, study.storage)


def planned(n_epochs: int, *values: float) -> Body:
    """A function that says how many epochs it has, then reports."""

    def body(claim: RunningTrial) -> None:
        claim.plan_epochs(n_epochs)
        reports(*values)(claim)

    return body


def used(study: SweepStudy) -> tuple[int | None, int | None]:
    use = study.pruner.explain()
    return use.min_epochs, use.n_epochs


def ends(study: SweepStudy) -> Sequence[int]:
    return [trial.last_step or 0 for trial in study.trials() if trial.state.is_finished()]


def test_the_study_file_says_how_long_the_longest_trial_is(tmp_path: Path) -> None:
    epochs = {"low": 9, "high": 30}
    study = begin(tmp_path, {"epochs": epochs, "learning_rate": {"low": 0.001, "high": 0.1}})
    assert used(study) == (2, 30)
    for value in (0.9, 0.5):
        run_trial(another_worker(study), reports(*[value] * 9))
    assert ends(study) == [9, 2]


def test_a_function_says_it_and_every_worker_prunes_by_the_first_that_does(tmp_path: Path) -> None:
    study = begin(tmp_path, FUNCTION)
    assert used(study) == (None, None)
    assert run_trial(study, planned(30, *[0.9] * 30)) == TrialState.COMPLETE
    state = run_trial(another_worker(study), planned(90, *[0.5] * 90))
    assert (state, ends(study)) == (TrialState.PRUNED, [30, 2])
    assert used(study) == used(another_worker(study)) == (2, 30)
    assert study.pruner.explain().why.endswith("; trial 0 planned 30")


def test_the_file_outweighs_a_function(tmp_path: Path) -> None:
    study = begin(tmp_path, {**FUNCTION, "epochs": 50})
    run_trial(study, planned(30, *[0.9] * 30))
    assert used(study) == (4, 50)


def test_after_the_epoch_that_a_function_calls_its_last_no_trial_is_pruned(tmp_path: Path) -> None:
    study = begin(tmp_path, FUNCTION)
    run_trial(study, planned(3, 0.9, 0.9, 0.9))
    assert run_trial(study, planned(2, 0.1, 0.1)) == TrialState.COMPLETE
    assert run_trial(study, planned(3, 0.1, 0.1, 0.1)) == TrialState.PRUNED


def test_if_nobody_says_it_the_first_complete_trial_tells(tmp_path: Path) -> None:
    study = begin(tmp_path, FUNCTION)

    def beside_another(claim: RunningTrial) -> None:
        reports(*[0.5] * 30)(claim)  # nothing to prune it by, nor is it known from when on
        run_trial(another_worker(study), reports(*[0.9] * 25))

    run_trial(study, beside_another)
    assert ends(study) == [30, 25]
    assert study.pruner.explain().why.startswith("nothing is pruned until a trial is complete")
    for value in (0.9, 0.4):
        run_trial(another_worker(study), reports(*[value] * 30))
    assert ends(study) == [30, 25, 30, 2]
    assert used(study) == (2, 30)
    assert study.pruner.explain().why.endswith("; trial 0 had 30")


def test_a_pruner_that_needs_no_length_is_told_none(tmp_path: Path) -> None:
    study = begin(tmp_path, FUNCTION, min_epochs=1)
    run_trial(study, planned(30, *[0.9] * 30))
    assert used(study) == (1, None)
    assert "sweeper.epochs" not in study.storage.get_study_user_attrs(study.study_id)


def test_a_storage_that_fails_as_a_function_says_its_epochs_puts_the_trial_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path, FUNCTION)

    def fail(study_id: int) -> None:
        raise OSError("no storage")

    def body(claim: RunningTrial) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(study.storage, "get_study_user_attrs", fail)
            with pytest.raises(TrialInterrupted, match="no storage"):
                claim.plan_epochs(30)
        raise TrialInterrupted("no storage")

    assert run_trial(study, body) == TrialState.WAITING


HYPERBAND = {"name": "hyperband", "min_epochs": 1, "reduction_factor": 3}
#: Brackets of 9 epochs: rungs after 1, 3 and 9; after 3 and 9; none before 9.
LEARNING = {"epochs": 9, "learning_rate": {"low": 0.001, "high": 0.1}}


def test_hyperband_needs_no_complete_trial_to_prune(tmp_path: Path) -> None:
    study = begin(tmp_path, LEARNING, **HYPERBAND)

    def body(claim: RunningTrial) -> None:
        reports(*[0.9 - 0.01 * claim.number] * 8)(claim)
        raise TrialPruned("by hand")

    for _ in range(30):
        run_trial(study, body)
    assert study.counts()[TrialState.COMPLETE] == 0
    assert set(ends(study)) == {1, 3, 8}


def test_every_worker_puts_a_trial_into_the_same_bracket_from_its_first_one_on(
    tmp_path: Path,
) -> None:
    study = begin(tmp_path, LEARNING, **HYPERBAND)
    trials = study.trials()

    def brackets(seen: SweepStudy) -> list[int]:
        handle: Any = seen.handle()
        return [handle.pruner._get_bracket_id(handle, trial) for trial in trials]

    found = brackets(study)
    assert set(found) == {0, 1, 2}
    run_trial(study, reports(*[0.5] * 9))
    assert brackets(study) == found == brackets(another_worker(study))
