"""Runs to which the trials' own code logs, too: neither's points are taken for the other's."""

from dataclasses import replace

import pytest

from sweeper.errors import RequestRefusedError
from sweeper.events import Interrupted
from sweeper.mlflow_run import MlflowRun
from sweeper.tracking.mirror import Mirror
from sweeper.trial import TrialState
from tests.support.tracked_study import START_S, Store, ended, epoch, started


def mirror(store: Store) -> Mirror:
    return store.mirror(shares_runs=True)


def left(store: Store) -> MlflowRun | None:
    return MlflowRun.load(store.paths.mlflow_run(0))


def log(store: Store, name: str, value: float, step: int) -> None:
    """As the trial's own code does."""
    run_id = store.trial().info.run_id
    store.client.log_metric(run_id, name, value, 1_700_000_000_500 + step, step=step)


def test_the_run_is_left_for_the_worker_at_each_start(store: Store) -> None:
    sends = mirror(store)
    store.append(0, started())
    sends.send()
    run = store.trial()
    first = left(store)
    assert first is not None
    assert (first.run_id, first.experiment_id) == (run.info.run_id, run.info.experiment_id)
    assert first.is_for(store.uri, 0)
    store.append(0, Interrupted(START_S + 1, "preempted"), started(resumed=1, at_s=2))
    sends.send()
    assert left(store) == replace(first, resumed=1)


def test_a_run_that_nobody_waits_for_is_not_left(store: Store) -> None:
    store.append(0, started(), epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    mirror(store).send()
    assert left(store) is None
    store.append(1, started())
    store.mirror().send()
    assert not store.paths.mlflow_run(1).exists()


def test_a_run_is_left_although_mlflow_refuses_what_is_sent_to_it(store: Store) -> None:
    store.append(0, started())
    store.mirror().send()
    run = store.trial()
    other = {"train.learning_rate": 0.5}  # and MLflow keeps a param for ever
    store.append(0, started(resumed=1, at_s=1, **other))
    with pytest.raises(RequestRefusedError):
        mirror(store).send()
    assert (found := left(store)) is not None
    assert found.run_id == run.info.run_id


@pytest.mark.parametrize("name", ["loss_by_batch", "val_accuracy"])
def test_points_of_the_code_do_not_keep_those_of_a_resumed_trial_away(
    store: Store, name: str
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    mirror(store).send()
    for step in (1, 500, 5000):
        log(store, name, 0.25, step)
    store.append(0, Interrupted(START_S + 2, "preempted"), started(resumed=1, at_s=3))
    store.append(0, epoch(2, 0.75))
    sends = mirror(store)
    sends.send()
    store.append(0, epoch(3, 0.625), ended(TrialState.COMPLETE, epoch(2, 0.75)))
    sends.send()
    run = store.trial()
    curve = store.curve(run, "val_accuracy")
    assert {(1, 0.5), (2, 0.75), (3, 0.625)} <= {point[:2] for point in curve}
    assert [step for step, *_ in store.curve(run, "train_loss")] == [1, 2, 3]
    assert len(store.curve(run, name)) == 3 * (1 + (name == "val_accuracy"))


def test_epochs_that_another_machine_sent_are_not_sent_again(store: Store) -> None:
    there = store.machine("there")
    there.append(0, started(), epoch(1, 0.5), epoch(2, 0.75))
    mirror(there).send()
    log(store, "loss_by_batch", 0.25, 500)
    again = [replace(epoch(n, 0.5), time_s=START_S + 100 + n) for n in (1, 2, 3)]
    store.append(0, started(resumed=1, at_s=99), *again)
    mirror(store).send()
    assert [step for step, *_ in store.curve(store.trial(), "val_accuracy")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TrialState.COMPLETE, "FINISHED"),
        (TrialState.PRUNED, "FINISHED"),
        (TrialState.DIVERGED, "KILLED"),
        (TrialState.FAILED, "FAILED"),
    ],
)
def test_the_true_end_stands_whatever_the_code_said(
    store: Store, state: TrialState, status: str
) -> None:
    sends = mirror(store)
    store.append(0, started(), epoch(1, 0.5))
    sends.send()
    store.client.set_terminated(store.trial().info.run_id, "FINISHED", 1)  # as its process ended
    store.append(0, Interrupted(START_S + 2, "preempted"))
    sends.send()
    assert store.trial().info.status == "SCHEDULED"
    store.append(0, started(resumed=1, at_s=3))
    sends.send()
    assert store.trial().info.status == "RUNNING"
    store.client.set_terminated(store.trial().info.run_id, "FINISHED", 1)
    store.append(0, ended(state, epoch(1, 0.5)))
    sends.send()
    info = store.trial().info
    assert (info.status, info.end_time) == (status, 1_700_000_010_000)


def test_a_name_that_both_log_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    sends = mirror(store)
    for number in (0, 1):
        store.append(number, started(), epoch(1, 0.5))
        sends.send()
        run = store.runs("trial")[number]
        store.client.log_metric(run.info.run_id, "train_loss", 0.1, 1_700_000_000_500, step=40)
        store.client.log_metric(run.info.run_id, "loss_by_batch", 0.1, step=40)
        store.append(number, ended(TrialState.COMPLETE, epoch(1, 0.5)))
        sends.send()
        assert len(store.curve(run, "train_loss")) == 2
    told = [message for message in caplog.messages if "own code logs" in message]
    assert told == [
        "digits: the trials' own code logs train_loss to MLflow and reports it, too; both are in "
        "one curve there, and what is reported is so by epoch: give one another name"
    ]
