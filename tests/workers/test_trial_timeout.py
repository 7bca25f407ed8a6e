from pathlib import Path

import pytest

from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.workers.trial_timeout import TrialTimeout
from tests.support.clock import Clock
from tests.support.sweep_studies import begin_in_memory, claim_trial


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def timeout(clock: Clock) -> TrialTimeout:
    return TrialTimeout(30.0, clock)


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin_in_memory(tmp_path)


def test_a_trial_is_overdue_once_it_has_taken_longer(
    study: SweepStudy, timeout: TrialTimeout, clock: Clock
) -> None:
    claim_trial(study, "a")
    assert timeout.overdue(study.cache.look(), {"a"}) == []
    clock.now_s += 10.0
    claim_trial(study, "b")
    assert timeout.overdue(study.cache.look(), {"a", "b"}) == []
    clock.now_s += 20.0
    assert timeout.overdue(study.cache.look(), {"a", "b"}) == []
    clock.now_s += 0.5
    assert timeout.overdue(study.cache.look(), {"a", "b"}) == [("a", 0)]
    assert timeout.cause == "trial timeout: not at its end after 30s (budget.trial_timeout)"


def test_trials_of_other_workers_are_others_business(
    study: SweepStudy, timeout: TrialTimeout, clock: Clock
) -> None:
    claim_trial(study, "elsewhere")
    for clock.now_s in (0.0, 1000.0):
        assert timeout.overdue(study.cache.look(), {"a"}) == []


def test_a_trial_that_was_given_back_has_its_whole_time_again(
    study: SweepStudy, timeout: TrialTimeout, clock: Clock
) -> None:
    claim_trial(study, "a")
    timeout.overdue(study.cache.look(), {"a"})
    put_back(study, 0)
    clock.now_s += 25.0
    claim_trial(study, "a")
    assert timeout.overdue(study.cache.look(), {"a"}) == []
    clock.now_s += 25.0
    assert timeout.overdue(study.cache.look(), {"a"}) == []
