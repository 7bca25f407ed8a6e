"""What MLflow has of a trial already, whoever sent it, is not sent again."""

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.entities import PagedList
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from sweeper.events import Interrupted, Started
from sweeper.locks import FileLock
from sweeper.tracking.parent import find_parent, open_parent
from sweeper.tracking.runs import TrialRuns
from sweeper.trial import EpochMetrics, TrialState
from tests.support.tracked_study import START_S, Store, ended, epoch, started


def later(measured: EpochMetrics, by_s: float = 100.0) -> EpochMetrics:
    """The same epoch, measured again."""
    return replace(measured, time_s=measured.time_s + by_s)


def steps(store: Store, metric: str = "val_accuracy") -> list[int]:
    return [step for step, *_ in store.curve(store.trial(), metric)]


def test_epochs_that_another_machine_sent_are_not_sent_again(store: Store) -> None:
    here, there = store, store.machine("there")
    there.append(0, started(), epoch(1, 0.5), epoch(2, 0.75))
    there.mirror().send()
    here.append(0, started(resumed=1, at_s=99), later(epoch(1, 0.5)), later(epoch(2, 0.75)))
    here.append(0, later(epoch(3, 0.625)))
    here.append(0, ended(TrialState.COMPLETE, later(epoch(2, 0.75))))
    here.mirror().send()
    assert store.curve(store.trial(), "val_accuracy") == [
        (1, 0.5, 1_700_000_001_000),
        (2, 0.75, 1_700_000_002_000),
        (3, 0.625, 1_700_000_103_000),
    ]
    assert steps(store, "best_val_accuracy") == [1, 2]
    assert store.trial().info.status == "FINISHED"


def test_the_best_is_that_of_the_process_that_ended_the_trial(store: Store) -> None:
    there = store.machine("there")
    there.append(0, started(), epoch(1, 0.5), epoch(2, 0.875))
    there.mirror().send()
    best = later(epoch(2, 0.75))
    store.append(0, started(resumed=1), later(epoch(1, 0.5)), best)
    store.mirror().send()
    assert steps(store) == [1, 2]
    store.append(0, replace(ended(TrialState.COMPLETE, best), time_s=START_S + 200))
    store.mirror().send()
    metrics = store.trial().data.metrics
    assert (metrics["best_val_accuracy"], metrics["best_epoch"]) == (0.75, 2)


def test_a_trial_that_is_behind_what_mlflow_has_catches_up(store: Store) -> None:
    there = store.machine("there")
    there.append(0, started(), *(epoch(number, number / 10) for number in (1, 2, 3)))
    there.mirror().send()
    mirror = store.mirror()
    store.append(0, started(resumed=1))
    for number in (1, 2, 3, 4):
        store.append(0, later(epoch(number, number / 10)))
        mirror.send()
    assert steps(store) == [1, 2, 3, 4]
    assert store.trial().data.metrics["best_val_accuracy"] == 0.4


def test_a_trial_that_comes_back_after_another_machine_had_it_doubles_nothing(
    store: Store,
) -> None:
    there, mirror = store.machine("there"), store.mirror()
    store.append(0, started(), epoch(1, 0.5))
    mirror.send()
    there.append(0, started(resumed=1), later(epoch(1, 0.5)), later(epoch(2, 0.75)))
    there.mirror().send()
    store.append(0, started(resumed=2), *(later(epoch(number, 0.5), 200) for number in (2, 3)))
    mirror.send()
    assert steps(store) == [1, 2, 3]


def test_what_a_machine_measured_after_it_lost_the_trial_is_left_out(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    store.mirror().send()
    there, best = store.machine("there"), later(epoch(1, 0.625))
    there.append(0, started(resumed=1), best, ended(TrialState.PRUNED, best))
    there.mirror().send()
    store.append(0, epoch(2, 0.75), Interrupted(START_S + 3, "taken over"))
    store.mirror().send()
    run = store.trial()
    assert (run.info.status, run.data.tags["sweeper.state"]) == ("FINISHED", "pruned")
    assert steps(store) == [1]
    assert "trial 0: another machine went on with it" in caplog.text
    assert store.mirror().send() == 0


def test_who_stood_still_for_longer_than_a_lease_asks_what_happened(store: Store) -> None:
    clock = [1000.0]
    mirror = store.mirror(now=lambda: clock[0])
    store.append(0, started(), epoch(1, 0.5))
    mirror.send()
    there = store.machine("there")
    there.append(0, started(resumed=1), later(epoch(1, 0.5)), later(epoch(2, 0.75)))
    there.mirror().send()
    store.append(0, epoch(2, 0.75))
    clock[0] += 31
    mirror.send()
    assert steps(store) == [1, 2]


def test_points_that_mlflow_lacks_in_between_are_sent(store: Store) -> None:
    """As where a request was cut between the metrics of one epoch."""
    store.append(0, started(), epoch(1, 0.5), epoch(2, 0.75), epoch(3, 0.625))
    parent = store.mirror().open()
    runs = TrialRuns(parent, "digits")
    runs.find(0, anew=True)
    run_id = runs.create(0, started())
    store.client.log_metric(run_id, "val_accuracy", 0.625, 1_700_000_003_000, step=3)
    store.mirror().send()
    assert steps(store) == steps(store, "train_loss") == [1, 2, 3]
    assert store.trial().data.metrics["best_val_accuracy"] == 0.75


def test_a_run_that_somebody_deleted_is_made_anew(store: Store) -> None:
    store.append(0, started(), epoch(1, 0.5))
    store.mirror().send()
    first = store.trial().info.run_id
    store.client.delete_run(first)
    store.append(0, epoch(2, 0.75))
    store.mirror().send()
    assert store.trial().info.run_id != first
    assert steps(store) == [1, 2]


def test_a_log_that_is_older_than_its_cursor_is_followed_again(store: Store) -> None:
    store.append(0, started(), epoch(1, 0.5))
    whole = store.paths.events(0).read_bytes()
    store.append(0, epoch(2, 0.75), ended(TrialState.COMPLETE, epoch(2, 0.75)))
    store.mirror().send()
    store.paths.events(0).write_bytes(whole)
    mirror = store.mirror()
    mirror.send()
    store.append(0, started(resumed=1), later(epoch(2, 0.625)), later(epoch(3, 0.75)))
    mirror.send()
    run = store.trial()
    assert [value for _, value, _ in store.curve(run, "val_accuracy")] == [0.5, 0.75, 0.75]
    assert run.info.status == "RUNNING"


def test_a_trial_that_came_from_another_machine_gets_no_second_run(store: Store) -> None:
    """Its log is brought here before the process here says that it went on with the trial."""
    here, there = store, store.machine("there")
    mirror = here.mirror()
    here.append(1, started(), epoch(1, 0.5))
    mirror.send()  # so it has looked which runs there are
    there.append(0, started(), epoch(1, 0.5), Interrupted(START_S + 2, "stopped"))
    there.mirror().send()
    here.append(0, started(), epoch(1, 0.5), Interrupted(START_S + 2, "stopped"))
    mirror.send()
    here.append(0, started(resumed=1), later(epoch(2, 0.75)))
    mirror.send()
    assert [run.data.tags["sweeper.trial"] for run in store.runs("trial")] == ["0", "1"]


def test_an_end_that_another_machine_sent_stands(store: Store) -> None:
    """The log here is that of a push in the middle of the trial; its node vanished later."""
    here, there = store, store.machine("there")
    for machine in (here, there):
        machine.append(0, started(), epoch(1, 0.5))
    there.append(0, epoch(2, 0.75), ended(TrialState.COMPLETE, epoch(2, 0.75)))
    there.mirror().send()
    here.mirror().send()
    run = store.trial()
    assert (run.info.status, run.data.tags["sweeper.state"]) == ("FINISHED", "complete")


def test_the_study_shows_no_best_of_a_trial_that_ended_elsewhere(store: Store) -> None:
    there = store.machine("there")
    store.append(0, started(), epoch(1, 0.5), Interrupted(START_S + 2, "stopped"))
    here = store.mirror()
    here.send()
    best = later(epoch(2, 0.75))
    there.append(0, started(), epoch(1, 0.5), Interrupted(START_S + 2, "stopped"))
    there.append(0, started(resumed=1), best, ended(TrialState.COMPLETE, best))
    counts = {TrialState.COMPLETE: 1}
    for mirror in (there.mirror(), here):
        mirror.send()
        mirror.finish(goal_reached=True, best_trials=[0], counts=counts, seconds={}, sampler={})
    [parent] = store.runs("study")
    assert parent.data.metrics["best_val_accuracy"] == 0.75


class HalfwayClient(MlflowClient):
    """A server that does what it is asked, but whose first answer never arrives."""

    n_requests = 0

    def create_run(self, *args: Any, **kwargs: Any) -> Run:
        run = super().create_run(*args, **kwargs)
        self.n_requests += 1
        if self.n_requests == 2:  # the first is the parent's
            raise ConnectionError("timed out")
        return run


def test_a_run_whose_creation_was_never_answered_is_found(store: Store) -> None:
    client = HalfwayClient(store.uri)
    experiment_id = client.create_experiment("digits")
    parent = open_parent(client, experiment_id, "digits", {}, is_start=True, founding=nullcontext)
    assert parent.is_new
    runs = TrialRuns(parent, "digits")
    assert runs.find(0, anew=False) is None
    start: Started = started()
    with pytest.raises(ConnectionError):
        runs.create(0, start)
    assert runs.find(0, anew=False) == store.trial().info.run_id


@pytest.mark.parametrize(
    ("is_locked", "n_runs"), [pytest.param(True, 1, id="locked"), pytest.param(False, 2, id="not")]
)
def test_machines_that_begin_a_study_at_once_begin_one_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_locked: bool, n_runs: int
) -> None:
    """The request that bears the earlier time arrives later, so each sees itself as the eldest."""
    create_run = SqlAlchemyStore.create_run
    others: list[threading.Thread] = []

    def founding() -> AbstractContextManager[None]:
        return FileLock(store.paths.root / "founding").held() if is_locked else nullcontext()

    def create_late(*args: Any, **kwargs: Any) -> Run:
        if not others:
            machine = store.machine("there").mirror(founding=founding)
            others.append(threading.Thread(target=machine.open))
            others[0].start()
            others[0].join(0.5 if is_locked else None)
        created: Run = create_run(*args, **kwargs)
        return created

    monkeypatch.setattr(SqlAlchemyStore, "create_run", create_late)
    store.mirror(founding=founding).open()
    others[0].join()
    assert len(store.runs("study")) == n_runs


class CountingClient(MlflowClient):
    """Notes how many runs it was given."""

    n_runs = 0

    def search_runs(self, *args: Any, **kwargs: Any) -> PagedList[Run]:
        runs = super().search_runs(*args, **kwargs)
        self.n_runs += len(runs)
        return runs


def test_one_trial_that_another_machine_may_have_begun_is_looked_for_alone(store: Store) -> None:
    for number in range(3):
        store.append(number, started())
    store.mirror().send()
    client = CountingClient(store.uri)
    parent = find_parent(client, store.runs("trial")[0].info.experiment_id)
    assert parent is not None
    runs = TrialRuns(parent, "digits")
    expected = [run.info.run_id for run in store.runs("trial")]
    client.n_runs = 0
    assert runs.find(0, anew=False) == expected[0]
    assert client.n_runs == 3
    assert runs.find(1, anew=True) == expected[1]
    assert client.n_runs == 4
    store.client.delete_run(expected[2])
    assert runs.find(2, anew=False) == expected[2]
    assert runs.find(2, anew=True) is None
