"""What must hold of a study whatever storage it lies in."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.errors import StudyError, TrialLost, TrialPruned
from sweeper.events import Started, read_events
from sweeper.study.attributes import state_of
from sweeper.study.create import load_study_from_storage
from sweeper.study.failures import find_streak
from sweeper.study.leases import LEASE_S, Leases
from sweeper.study.ownership import Ownership
from sweeper.study.recovery import reclaim_orphans
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.trial import TrialState
from tests.support.forks import FORKS
from tests.support.sweep_studies import (
    AGENT,
    Body,
    begin,
    claim_and_die,
    claim_trial,
    epoch,
    killed,
    raises,
    reports,
    run_all,
    run_claimed,
    run_trial,
)

GOAL = 60


@dataclass(frozen=True)
class Place:
    """A storage that a study of this name may begin in.

    Attributes:
        changes: What they mean in the study file.
        n_processes: That may work on it at once.
    """

    folder: Path
    changes: dict[str, Any]
    n_processes: int

    def begin(self, **changes: Any) -> SweepStudy:
        return begin(self.folder, **{**self.changes, **changes})


@pytest.fixture(
    params=[
        "journal",
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("proxy", marks=pytest.mark.postgres),
    ],
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    name = f"study-{uuid.uuid4().hex}"
    if request.param == "journal":
        return Place(tmp_path, {"name": name}, 8)
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/optuna.db"
        return Place(tmp_path, {"name": name, "storage": url, "run": {"workers": 1}}, 1)
    url = request.getfixturevalue(f"{request.param}_url")
    return Place(tmp_path, {"name": name, "storage": url}, 8)


def work(
    index: int, folder: Path, changes: dict[str, Any], start: Any, claims: Path, body: Body
) -> None:
    """Claim and finish trials until the goal is reached, as a worker does."""
    study = begin(folder, **changes)
    start.wait(timeout=60)
    own = []
    while study.n_finished() < study.goal and not find_streak(study.cache, ()):
        trial = claim_trial(study, f"worker{index}")
        if trial is None:
            time.sleep(0.02)  # another process's last trial may fail and be replaced
            continue
        own.append(trial.number)
        run_claimed(study, trial, body)
    (claims / str(index)).write_text(" ".join(map(str, own)))


def of_one_epoch(claim: RunningTrial) -> None:
    claim.report(epoch(1, 0.5))


def of_every_kind(claim: RunningTrial) -> None:
    """Every fifth trial is pruned; one in seven of the first twenty-one fails."""
    if claim.number in (0, 7, 14):
        raise OSError("this one fails")
    reports(0.5, 0.6)(claim)
    if claim.number % 5 == 0:
        raise TrialPruned("by hand")


def compete(place: Place, body: Body, folders: Sequence[Path]) -> list[int]:
    """Work in all processes at once; the numbers that they claimed, sorted."""
    start = FORKS.Barrier(place.n_processes)
    claims = place.folder / "claims"
    claims.mkdir()
    processes = [
        FORKS.Process(target=work, args=(i, folder, place.changes, start, claims, body))
        for i, folder in enumerate(folders)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(folders)
    return sorted(int(n) for path in claims.iterdir() for n in path.read_text().split())


@pytest.mark.gate
def test_the_total_is_exact_however_many_work_on_it(place: Place) -> None:
    goal = GOAL if place.n_processes > 1 else 20
    place = replace(place, changes={**place.changes, "budget": {"trials": goal}})
    study = place.begin()
    claimed = compete(place, of_every_kind, [place.folder] * place.n_processes)
    # Trials 0, 7 and 14 fail and are replaced; 5, 10, 15, ... are pruned.
    assert claimed == list(range(goal + 3))
    n_pruned = (goal + 2) // 5
    assert study.counts() == {
        TrialState.FAILED: 3,
        TrialState.PRUNED: n_pruned,
        TrialState.COMPLETE: goal - n_pruned,
    }


@pytest.mark.postgres
@pytest.mark.parametrize("server", ["postgres_url", "proxy_url"])
def test_machines_that_share_a_server_alone_claim_each_trial_once(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    changes = {
        "name": f"study-{uuid.uuid4().hex}",
        "storage": request.getfixturevalue(server),
        "budget": {"trials": GOAL},
    }
    place = Place(tmp_path, changes, 8)
    # A folder each, so that they have no file in common; all begin the study and fill it at once.
    folders = [tmp_path / f"machine{i}" for i in range(8)]
    assert compete(place, of_one_epoch, folders) == list(range(GOAL))
    assert place.begin().counts() == {TrialState.COMPLETE: GOAL}


def test_a_trial_keeps_all_it_has_from_claim_to_claim(place: Place) -> None:
    study = place.begin()
    assert run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True) == TrialState.WAITING
    before = study.trials()[0]
    again = claim_trial(place.begin(), "another")
    assert again is not None
    assert (again.number, again.params) == (0, before.params)
    assert again.intermediate_values == {1: 0.5}
    assert again.user_attrs["sweeper.resumed"] == 1
    assert again.user_attrs["sweeper.owner"] == [AGENT, "another", 2]
    assert run_claimed(study, again, reports(0.5, 0.6, 0.7)) == TrialState.COMPLETE
    after = study.trials()[0]
    assert (after.params, after.values) == (before.params, [0.7])
    assert after.intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}


def test_every_end_is_kept(place: Place) -> None:
    study = place.begin()
    run_trial(study, reports(0.5, 0.75, 0.25))
    run_trial(study, raises(TrialPruned("by hand")))
    run_trial(study, reports(0.5, float("nan")))
    run_trial(study, raises(ValueError("x" * 5000)))
    run_trial(study, reports(0.5), is_stopping=lambda: True)
    trials = place.begin().trials()[:5]
    assert [state_of(trial) for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.DIVERGED,
        TrialState.FAILED,
        TrialState.WAITING,
    ]
    assert [trial.values for trial in trials] == [[0.75], None, None, None, None]
    assert [trial.state for trial in trials[2:4]] == [OptunaState.PRUNED, OptunaState.FAIL]
    assert trials[3].user_attrs["sweeper.cause"] == f"ValueError: {'x' * 5000}"


def test_a_killed_workers_trial_waits_again(place: Place) -> None:
    study = place.begin()
    killed(claim_and_die, place.folder, place.changes, "dying", 2)
    assert study.counts()[TrialState.RUNNING] == 1
    assert reclaim_orphans(study, "killed") == 1
    assert study.counts() == {TrialState.WAITING: 10}
    [trial] = [trial for trial in study.trials() if trial.params]
    assert trial.intermediate_values == {1: 0.5, 2: 0.5}


def begun(action: Callable[[], object]) -> Thread:
    """A thread that does it."""
    thread = Thread(target=action, daemon=True)
    thread.start()
    return thread


def test_a_trial_ends_while_others_claim_or_end_theirs(place: Place) -> None:
    study, other = place.begin(), place.begin()
    trial, another = claim_trial(study, "worker"), claim_trial(study, "another")
    assert trial is not None
    assert another is not None
    with other.lock.held(), Ownership.of(other, another).settling():
        begun(lambda: run_claimed(study, trial, reports(0.5))).join(30)
        assert study.counts()[TrialState.COMPLETE] == 1


def test_a_trial_does_not_end_while_it_is_taken_over(place: Place) -> None:
    study, other = place.begin(), place.begin()
    trial = claim_trial(study, "worker")
    assert trial is not None
    lost: list[TrialLost] = []

    def end() -> None:
        try:
            run_claimed(study, trial, reports(0.5))
        except TrialLost as exc:
            lost.append(exc)

    with Ownership.of(other, trial).taken_over() as taken:
        assert taken is not None
        ending = begun(end)
        ending.join(0.5)
        put_back(other, trial.number)
    ending.join(30)
    assert list(map(str, lost)) == ["trial 0 was taken over and is WAITING now"]
    assert other.counts() == {TrialState.WAITING: 10}


def test_a_trial_is_not_taken_over_while_its_machine_may_settle_it(place: Place) -> None:
    here, there = place.begin(), place.begin()
    clock = [1000.0]
    there.leases = Leases(there.attributes, "there", lambda: clock[0])
    trial = claim_trial(here, "suspended")
    assert trial is not None
    with Ownership.of(here, trial).settling():
        for _ in range(6):
            assert reclaim_orphans(there, "its machine is silent") == 0
            clock[0] += LEASE_S / 4
    assert reclaim_orphans(there, "its machine is silent") == 1
    with pytest.raises(TrialLost), Ownership.of(here, trial).settling():
        pass


def test_a_trial_of_another_machine_is_taken_over_once_its_lease_is_over(place: Place) -> None:
    here, there = place.begin(), place.begin()
    clock = [1000.0]
    here.leases = Leases(here.attributes, "here", lambda: clock[0] + 60)
    there.leases = Leases(there.attributes, "there", lambda: clock[0])
    trial = claim_trial(here, "suspended")
    assert trial is not None
    assert reclaim_orphans(there, "its machine is silent") == 0
    for _ in range(4):
        clock[0] += LEASE_S / 4
        assert reclaim_orphans(there, "its machine is silent") == 0
    clock[0] += 1
    assert reclaim_orphans(there, "its machine is silent") == 1
    assert there.leases.renew("successor")
    [again] = there.queue.claim("successor", "worker", n=1)
    assert again.number == trial.number
    assert again.user_attrs["sweeper.owner"] == ["successor", "worker", 2]
    with pytest.raises(TrialLost, match="trial 0 was taken over"):
        run_claimed(here, trial, reports(0.1))
    assert not here.leases.renew(AGENT)
    assert run_claimed(there, again, reports(0.5)) == TrialState.COMPLETE
    assert there.trials()[0].intermediate_values == {1: 0.5}


def started(study: SweepStudy, number: int) -> Started:
    """What a trial was trained with."""
    events, _ = read_events(study.paths.events(number))
    return next(event for event in events if isinstance(event, Started))


def test_settings_of_every_type_come_back_as_they_were_drawn(place: Place) -> None:
    space: dict[str, Any] = {
        "data": {"name": "digits", "batch_size": {"low": 16, "high": 64, "step": 16}},
        "model": {"architecture": {"choices": ["mlp", "cnn"]}, "batch_norm": {"choices": [True]}},
        "train": {
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
            "momentum": {"low": 0.1, "high": 0.7, "step": 0.2},
            "clip_grad_norm": {"choices": [None, 1.0]},
        },
    }
    study = place.begin(**space)
    for _ in range(6):
        run_trial(study, reports(0.5))
    for trial in place.begin(**space).trials()[:6]:
        params = started(study, trial.number).params
        assert len(trial.params) == 6
        assert {name: params[name] for name in trial.params} == trial.params
        assert all(type(params[name]) is type(value) for name, value in trial.params.items())


def test_a_grid_is_tried_once_also_by_two_commands(place: Place) -> None:
    grid: dict[str, Any] = {
        "sampler": {"name": "grid"},
        "train": {
            "epochs": 1,
            "momentum": {"low": 0.1, "high": 0.7, "step": 0.1},
            "clip_grad_norm": {"choices": [None, 1.0]},
        },
    }
    study = place.begin(budget={"trials": 5}, **grid)
    run_all(study, reports(0.5))
    study = place.begin(budget={"trials": 100}, **grid)
    run_all(study, reports(0.5))
    points = Counter(frozenset(trial.params.items()) for trial in study.trials())
    assert len(points) == study.goal == 14
    assert set(points.values()) == {1}
    momenta = {round(trial.params["train.momentum"], 9) for trial in study.trials()}
    assert momenta == {i / 10 for i in range(1, 8)}


@pytest.mark.gate
def test_no_setting_is_drawn_twice_however_many_draw_at_once(place: Place) -> None:
    space: dict[str, Any] = {
        "budget": {"trials": 6},
        "train": {"epochs": 1, "momentum": {"low": 0.0, "high": 0.9, "step": 0.05}},
    }
    place = replace(place, changes={**place.changes, **space})
    study = place.begin()
    compete(place, of_one_epoch, [place.folder] * place.n_processes)
    tried = {round(trial.params["train.momentum"], 9) for trial in study.trials()}
    assert len(tried) == study.n_finished() == 6


def test_enqueued_settings_come_first(place: Place) -> None:
    study = place.begin(enqueue=[{"train.learning_rate": 0.05}])
    assert study.queue.top_up() == 0
    run_trial(study, reports(0.5))
    assert study.trials()[0].params == {"train.learning_rate": 0.05}


def test_a_changed_search_is_refused_and_the_same_one_is_not(place: Place) -> None:
    place.begin()
    place.begin(budget={"trials": 11})
    with pytest.raises(StudyError, match='train.optimizer: was "adamw", is "sgd"'):
        place.begin(train={"optimizer": "sgd"})


def test_a_study_is_found_by_its_name(place: Place) -> None:
    study = place.begin()
    found = load_study_from_storage(study.spec, study.paths)
    assert found is not None
    assert found.counts() == {TrialState.WAITING: 10}
    other = replace(study.spec, name="other")
    assert load_study_from_storage(other, study.paths) is None
