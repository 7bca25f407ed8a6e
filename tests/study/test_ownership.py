from pathlib import Path

import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.errors import TrialLost
from sweeper.study.attributes import Owner
from sweeper.study.leases import LEASE_S, Leases
from sweeper.study.ownership import Ownership
from sweeper.study.presence import Presence
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from tests.support.sweep_studies import AGENT, begin, claim_trial


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def claimed(study: SweepStudy, worker: str = "worker") -> FrozenTrial:
    trial = claim_trial(study, worker)
    assert trial is not None
    return trial


def test_whoever_claims_a_trial_owns_it(study: SweepStudy) -> None:
    trial = claimed(study)
    ownership = Ownership.of(study, trial)
    assert (ownership.number, ownership.owner) == (0, Owner(AGENT, "worker", 1))
    assert ownership.require().state == OptunaState.RUNNING
    assert ownership.look() is not None


def test_the_next_claim_ends_it_even_by_the_same_worker(study: SweepStudy) -> None:
    ownership = Ownership.of(study, claimed(study))
    put_back(study, 0)
    with pytest.raises(TrialLost, match="trial 0 was taken over and is WAITING now"):
        ownership.require()
    assert Ownership.of(study, claimed(study)).owner == Owner(AGENT, "worker", 2)
    with pytest.raises(TrialLost, match="trial 0 was taken over and is RUNNING now"):
        ownership.require()
    assert ownership.look() is None


def test_nobody_settles_what_he_lost(study: SweepStudy) -> None:
    ownership = Ownership.of(study, claimed(study))
    put_back(study, 0)
    with pytest.raises(TrialLost), ownership.settling():
        pytest.fail("he was let in")
    with ownership.taken_over() as trial:
        assert trial is None


def test_a_trial_is_orphaned_once_its_worker_here_is_gone(study: SweepStudy) -> None:
    presence = Presence(study.paths.presence_dir, "worker")
    ownership = Ownership.of(study, claimed(study))
    assert not ownership.is_orphaned()
    presence.leave()
    assert ownership.is_orphaned()


def test_of_an_agent_elsewhere_its_lease_tells(study: SweepStudy) -> None:
    now = [1000.0]
    ownership = Ownership.of(study, claimed(study))
    study.leases = Leases(study.attributes, "another machine", lambda: now[0])
    for _ in range(4):
        assert not ownership.is_orphaned()
        now[0] += LEASE_S / 4
    now[0] += 1
    assert ownership.is_orphaned()


def test_a_trial_that_is_being_settled_elsewhere_is_left_for_later(study: SweepStudy) -> None:
    ownership = Ownership.of(study, claimed(study))
    study.leases = Leases(study.attributes, "another machine")
    with ownership.settling(), ownership.taken_over() as trial:
        assert trial is None
    with ownership.taken_over() as trial:
        assert trial is not None
