from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.errors import StudyError
from sweeper.events import Ended, EventWriter, Interrupted, Started
from sweeper.study.attributes import Attr
from sweeper.study.presence import Presence
from sweeper.study.recovery import SILENT, Death, find_orphans, reclaim_orphans
from sweeper.study.study import SweepStudy
from sweeper.trial import FailureKind, Outcome, TrialState
from tests.support.sweep_studies import (
    begin,
    claim_and_die,
    claim_trial,
    epoch,
    in_processes,
    killed,
    kinds,
    last_outcome,
    log,
    reports,
    run_all,
    run_trial,
)

DIED = "its worker died: killed by SIGKILL"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def died(worker: str, kind: FailureKind = FailureKind.LOST_WORKER) -> Death:
    return Death(worker, "killed by SIGKILL", kind, "its last lines")


def test_a_killed_workers_trial_waits_again_until_it_killed_four(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for death in (1, 2, 3, 4):
        killed(claim_and_die, tmp_path, {}, f"worker{death}", 1)
        assert study.counts()[TrialState.RUNNING] == 1
        assert reclaim_orphans(study, SILENT, died(f"worker{death}")) == 1
        trial = study.trials()[0]
        assert trial.user_attrs[Attr.RETRIES] == {"lost_worker": [death, 1, death]}
        expected = OptunaState.FAIL if death == 4 else OptunaState.WAITING
        assert trial.state == expected
    assert study.trials()[0].user_attrs[Attr.RESUMED] == 3
    assert study.trials()[0].user_attrs[Attr.FAILURE] == "lost_worker"
    assert last_outcome(study) == Outcome(
        TrialState.FAILED,
        epoch(1, 0.5),
        "killed by SIGKILL, 4 times",
        "its last lines",
        FailureKind.LOST_WORKER,
        retries=3,
    )
    assert study.counts() == {TrialState.FAILED: 1, TrialState.WAITING: 9}
    run_all(study, reports(0.5))
    assert study.counts() == {TrialState.FAILED: 1, TrialState.COMPLETE: 10}, "one took its place"


def test_deaths_are_counted_anew_once_a_trial_got_further(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for n_epochs in (1, 2, 3, 4, 5):
        killed(claim_and_die, tmp_path, {}, f"worker{n_epochs}", n_epochs)
        reclaim_orphans(study, SILENT, died(f"worker{n_epochs}"))
    assert study.trials()[0].state == OptunaState.WAITING
    assert study.trials()[0].user_attrs[Attr.RETRIES] == {"lost_worker": [1, 5, 5]}


def test_a_worker_that_died_takes_no_other_workers_trial_along(study: SweepStudy) -> None:
    for worker in ("timed_out", "bystander"):
        claim_trial(study, worker)
    assert reclaim_orphans(study, SILENT, died("timed_out", FailureKind.TRIAL_TIMEOUT)) == 2
    assert [trial.state for trial in study.trials()[:2]] == [OptunaState.FAIL, OptunaState.WAITING]
    assert last_outcome(study).kind == FailureKind.TRIAL_TIMEOUT
    assert last_outcome(study).retries == 0


def test_a_death_for_one_trial_does_not_blame_the_next(study: SweepStudy) -> None:
    run_trial(study, reports(0.5))
    claim_trial(study, "overdue")
    death = Death("overdue", "trial timeout", FailureKind.TRIAL_TIMEOUT, "", number=0)
    assert reclaim_orphans(study, SILENT, death) == 1
    assert study.trials()[1].state == OptunaState.WAITING


def test_whoever_stops_a_worker_does_not_blame_its_trial(study: SweepStudy) -> None:
    for _ in range(6):
        claim_trial(study, "stopped")
        assert reclaim_orphans(study, "stopped at once") == 1
    assert study.counts() == {TrialState.WAITING: 10}


def test_a_living_workers_trial_is_left_alone(study: SweepStudy) -> None:
    presence = Presence(study.paths.presence_dir, "living")
    trial = claim_trial(study, "living")
    assert trial is not None
    assert reclaim_orphans(study, DIED) == 0
    assert study.trials()[0].state == OptunaState.RUNNING
    presence.leave()
    assert reclaim_orphans(study, DIED) == 1


def reclaim(index: int, folder: Path, changes: dict[str, Any]) -> None:
    n = reclaim_orphans(begin(folder, **changes), DIED)
    (folder / f"reclaimed{index}").write_text(str(n))


def test_processes_that_reclaim_at_once_put_a_trial_back_once(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for name in ("dead", "gone"):
        claim_trial(study, name)
    in_processes(3, reclaim, tmp_path, {})
    assert sum(int((tmp_path / f"reclaimed{i}").read_text()) for i in range(3)) == 2
    assert [trial.user_attrs.get(Attr.RESUMED) for trial in study.trials()[:2]] == [1, 1]
    assert study.counts() == {TrialState.WAITING: 10}


def test_an_end_that_reached_the_log_alone_is_brought_to_the_storage(study: SweepStudy) -> None:
    trial = claim_trial(study, "dead")
    assert trial is not None
    outcome = Outcome(TrialState.COMPLETE, epoch(3, 0.8))
    with EventWriter(study.paths.events(0)) as events:
        events.append(Ended(0.0, outcome))
    assert reclaim_orphans(study, DIED) == 1
    ended = study.trials()[0]
    assert (ended.state, ended.values) == (OptunaState.COMPLETE, [0.8])
    assert kinds(study) == ["Ended"]


def test_orphans_are_those_whose_worker_is_gone(study: SweepStudy) -> None:
    presence = Presence(study.paths.presence_dir, "living")
    claim_trial(study, "living")
    claim_trial(study, "gone")
    assert [orphan.number for orphan in find_orphans(study)] == [1]
    presence.leave()
    assert [orphan.number for orphan in find_orphans(study)] == [0, 1]


def test_a_trial_that_fails_before_its_log_began_has_a_whole_log(study: SweepStudy) -> None:
    claim_trial(study, "overdue")
    assert reclaim_orphans(study, SILENT, died("overdue", FailureKind.TRIAL_TIMEOUT)) == 1
    assert kinds(study) == ["Started", "Ended"]


def test_a_trial_that_never_began_waits_again_without_a_log(study: SweepStudy) -> None:
    claim_trial(study, "gone")
    assert reclaim_orphans(study, SILENT) == 1
    assert study.trials()[0].state == OptunaState.WAITING
    assert kinds(study) == []


@pytest.mark.parametrize(
    ("death", "cause"), [(None, SILENT), (died("dying"), "killed by SIGKILL")]
)
def test_the_log_says_why_a_trial_waits_again(
    study: SweepStudy, death: Death | None, cause: str
) -> None:
    trial = claim_trial(study, "dying")
    assert trial is not None
    with EventWriter(study.paths.events(0)) as events:
        events.append(Started(0.0, 0, {}, {}, None, None))
    reclaim_orphans(study, SILENT, death)
    last = log(study)[-1]
    assert isinstance(last, Interrupted)
    assert last.cause == cause


def test_an_end_that_the_log_has_counts_more_than_the_death_after_it(study: SweepStudy) -> None:
    claim_trial(study, "dying")
    with EventWriter(study.paths.events(0)) as events:
        events.append(Ended(0.0, Outcome(TrialState.PRUNED, epoch(1, 0.5), "by asha")))
    reclaim_orphans(study, SILENT, died("dying", FailureKind.TRIAL_TIMEOUT))
    assert study.trials()[0].state == OptunaState.PRUNED
    assert Attr.RETRIES not in study.trials()[0].user_attrs


def test_a_name_in_the_storage_that_is_a_path_deletes_nothing(study: SweepStudy) -> None:
    victim = study.paths.root / "precious.txt"
    victim.write_text("data")
    study.storage.set_trial_user_attr(study.trial_id(0), Attr.OWNER, ["evil", str(victim), 1])
    study.storage.set_trial_state_values(study.trial_id(0), OptunaState.RUNNING)
    study.leases.renew("evil")
    with pytest.raises(StudyError, match="^the owner of trial 0 in the study's storage is not"):
        reclaim_orphans(study, SILENT)
    assert victim.exists()
