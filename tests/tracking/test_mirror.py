"""Event logs arrive in a real MLflow store, each point once, whatever was lost on the way."""

import math
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from sweeper.errors import TrackerError
from sweeper.events import Ended, Event, Interrupted
from sweeper.trial import EpochMetrics, Objective, Outcome, TrialState
from tests.support.mlflow_store import copy_empty_database
from tests.support.secret_texts import all_forms
from tests.support.tracked_study import (
    SEARCHED,
    START_S,
    Store,
    ended,
    epoch,
    started,
    two_complete_trials,
)


def test_curves_arrive_with_the_time_at_which_they_were_measured(store: Store) -> None:
    store.append(3, started(), epoch(1, 0.5), epoch(2, 0.75), epoch(3, 0.625))
    assert store.mirror().send() == 4
    run = store.trial()
    assert store.curve(run, "val_accuracy") == [
        (1, 0.5, 1_700_000_001_000),
        (2, 0.75, 1_700_000_002_000),
        (3, 0.625, 1_700_000_003_000),
    ]
    assert len(store.curve(run, "train_loss")) == 3
    assert run.info.start_time == 1_700_000_000_000
    assert run.info.status == "RUNNING"


def test_the_runs_table_shows_the_epoch_that_counts(store: Store) -> None:
    store.append(3, started(), epoch(1, 0.5), epoch(2, 0.75), epoch(3, 0.625))
    store.mirror().send()
    metrics = store.trial().data.metrics
    assert metrics["val_accuracy"] == 0.625
    assert metrics["best_val_accuracy"] == 0.75
    assert metrics["best_epoch"] == 2


def test_a_run_carries_params_tags_and_data(store: Store) -> None:
    store.append(42, started())
    store.mirror().send()
    run = store.trial()
    [parent] = store.runs("study")
    assert run.info.run_name == "digits-0042-mlp"
    assert run.data.params == {"model.architecture": "mlp", "train.learning_rate": "0.01"}
    expected = {
        "sweeper.study": "digits",
        "sweeper.trial": "42",
        "sweeper.state": "running",
        "sweeper.seed": "7",
        "sweeper.data": "digits",
        "sweeper.data_fingerprint": "0123456789abcdef",
        "sweeper.task": "classification",
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.source.git.commit": "c0ffee",
        "mlflow.source.name": "sweeper run digits",
    }
    assert expected.items() <= run.data.tags.items()
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "0123456789abcdef")
    assert '"n_train": 1500' in str(data.dataset.profile)


def test_params_are_what_is_searched_and_one_tag_holds_all_else(store: Store) -> None:
    constants: dict[str, Any] = {"train.epochs": 3, "data.name": "digits", "model.note": "a: b"}
    store.append(0, started(**constants))
    store.mirror(searched=["train.learning_rate"]).send()
    run = store.trial()
    assert run.data.params == {"train.learning_rate": "0.01"}
    told = {"model.architecture": "mlp", **constants}
    assert yaml.safe_load(run.data.tags["sweeper.constants"]) == told


def test_what_may_change_when_a_trial_goes_on_is_told_as_it_is_now(store: Store) -> None:
    before: dict[str, Any] = {"data.root": "/scratch/ann", "train.note": "old default"}
    now: dict[str, Any] = {"data.root": "/home/ann", "train.note": "new default"}
    mirror = store.mirror()
    store.append(0, started(**before), epoch(1, 0.5), Interrupted(START_S + 2, "preempted"))
    mirror.send()
    store.append(0, started(resumed=1, at_s=5, **now), epoch(2, 0.75))
    mirror.send()
    run = store.trial()
    assert [step for step, *_ in store.curve(run, "val_accuracy")] == [1, 2]
    assert yaml.safe_load(run.data.tags["sweeper.constants"]) == now


def test_a_run_that_older_code_began_keeps_its_params_and_goes_on(store: Store) -> None:
    before: dict[str, Any] = {"data.root": "/scratch/ann"}
    now: dict[str, Any] = {"data.root": "/home/ann"}
    store.append(0, started(**before), epoch(1, 0.5))
    store.mirror(searched=[*SEARCHED, "data.root"]).send()  # every value was a param
    store.append(0, started(resumed=1, at_s=5, **now), epoch(2, 0.75))
    store.mirror().send()
    run = store.trial()
    assert run.data.params["data.root"] == "/scratch/ann"
    assert [step for step, *_ in store.curve(run, "val_accuracy")] == [1, 2]


def test_a_trial_shows_where_its_time_went_also_when_it_is_looked_at_again(store: Store) -> None:
    seconds = {"step": 9.0, "claim": 1.0}
    outcome = Outcome(TrialState.COMPLETE, epoch(1, 0.5), seconds=seconds)
    store.append(0, started(), epoch(1, 0.5), Ended(START_S + 10, outcome))
    for _ in range(2):
        store.mirror().send()
        metrics = store.trial().data.metrics
        assert metrics["system/sweeper_step_seconds"] == 9
        assert metrics["system/sweeper_claim_seconds"] == 1
        assert metrics["system/sweeper_harness_share"] == pytest.approx(0.1)
        assert len(store.curve(store.trial(), "system/sweeper_step_seconds")) == 1
        store.paths.shipped(0).unlink()


def test_in_the_end_the_database_file_alone_holds_everything(store: Store) -> None:
    two_complete_trials(store)
    mirror = store.mirror()
    mirror.send()
    counts = {TrialState.COMPLETE: 2}
    mirror.finish(goal_reached=True, best_trials=[1], counts=counts, seconds={}, sampler={})
    copied = store.paths.root / "copied.db"
    copied.write_bytes(store.paths.mlflow_db.read_bytes())
    with closing(sqlite3.connect(copied)) as database:
        statuses = database.execute("SELECT status FROM runs").fetchall()
    assert statuses == [("FINISHED",)] * 3


def test_the_parent_run_tells_of_the_sampler(store: Store) -> None:
    two_complete_trials(store)
    mirror = store.mirror()
    mirror.send()
    told = {"drawn": "1 sobol, 1 model", "matters": "train.learning_rate 0.2"}
    counts = {TrialState.COMPLETE: 2}
    mirror.finish(goal_reached=True, best_trials=[1], counts=counts, seconds={}, sampler=told)
    [parent] = store.runs("study")
    assert parent.data.tags["sweeper.drawn"] == "1 sobol, 1 model"
    assert parent.data.tags["sweeper.matters"] == "train.learning_rate 0.2"


def test_the_parent_run_holds_the_resolved_study_file(store: Store) -> None:
    store.mirror().open()
    [parent] = store.runs("study")
    assert parent.data.tags["sweeper.sampler"] == "tpe"
    assert [file.path for file in store.client.list_artifacts(parent.info.run_id)] == [
        "study.yaml"
    ]
    assert (store.paths.artifacts / parent.info.run_id / "artifacts/study.yaml").exists()


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TrialState.COMPLETE, "FINISHED"),
        (TrialState.PRUNED, "FINISHED"),
        (TrialState.DIVERGED, "KILLED"),
        (TrialState.FAILED, "FAILED"),
    ],
)
def test_a_trial_ends_as_it_ended(store: Store, state: TrialState, status: str) -> None:
    end = ended(state, epoch(1, 0.5), "why", "last lines")
    store.append(0, started(), epoch(1, 0.5), replace(end, tags={"packed": "2"}))
    store.mirror().send()
    run = store.trial()
    assert run.info.status == status
    assert run.data.tags["sweeper.packed"] == "2"
    assert run.info.end_time == 1_700_000_010_000
    assert run.data.tags["sweeper.state"] == state.value
    assert run.data.tags["sweeper.cause"] == "why"
    assert run.data.tags["sweeper.details"] == "last lines"
    assert run.data.metrics["best_val_accuracy"] == 0.5


def test_an_interrupted_trial_waits_and_goes_on_in_the_same_run(store: Store) -> None:
    mirror = store.mirror()
    stopped = Interrupted(START_S + 2, "preempted", tags={"packed": "2"})
    store.append(0, started(), epoch(1, 0.5), stopped)
    mirror.send()
    first = store.trial()
    assert first.info.status == "SCHEDULED"
    assert first.data.tags["sweeper.state"] == "waiting"
    assert first.data.tags["sweeper.interrupted"] == "preempted"
    assert first.data.tags["sweeper.packed"] == "2"
    store.append(0, started(resumed=1, at_s=5), epoch(2, 0.75))
    mirror.send()
    second = store.trial()
    assert second.info.run_id == first.info.run_id
    assert second.info.status == "RUNNING"
    assert second.data.tags["sweeper.resumed"] == "1"
    assert [step for step, *_ in store.curve(second, "val_accuracy")] == [1, 2]


def test_what_older_code_let_user_code_report_never_stands_for_our_own(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"best_epoch": 77.0, "best_val_accuracy": 9.0, "system/sweeper_step_seconds": 5.0}
    epochs = [replace(e, values={**e.values, **own}) for e in (epoch(1, 0.75), epoch(2, 0.5))]
    store.append(0, started(), *epochs, ended(TrialState.COMPLETE, epochs[0]))
    store.append(1, started(), *epochs)
    store.mirror().send()
    for run in store.runs("trial"):
        assert (run.data.metrics["best_epoch"], run.data.metrics["best_val_accuracy"]) == (1, 0.75)
        assert "system/sweeper_step_seconds" not in run.data.metrics
        assert len(store.curve(run, "val_accuracy")) == 2
    [record] = caplog.records
    assert ", ".join(sorted(own)) in record.getMessage()


def test_an_epoch_trained_again_after_a_crash_is_one_point(store: Store) -> None:
    again = replace(epoch(2, 0.75), time_s=START_S + 7)
    store.append(0, started(), epoch(1, 0.5), epoch(2, 0.75), started(resumed=1, at_s=5), again)
    store.mirror().send()
    assert store.curve(store.trial(), "val_accuracy") == [
        (1, 0.5, 1_700_000_001_000),
        (2, 0.75, 1_700_000_002_000),
    ]


def test_the_outcome_decides_what_the_best_is(store: Store) -> None:
    counted = replace(epoch(1, 0.625), time_s=START_S + 7)
    store.append(
        0,
        started(),
        epoch(1, 0.5),
        epoch(2, 0.75),
        ended(TrialState.COMPLETE, counted),
    )
    store.mirror().send()
    metrics = store.trial().data.metrics
    assert (metrics["best_val_accuracy"], metrics["best_epoch"]) == (0.625, 1)


def test_several_objectives_count_at_the_last_epoch(store: Store) -> None:
    objective = Objective(("val_accuracy", "train_loss"), ("maximize", "minimize"))
    store.append(0, started(), epoch(1, 0.75, loss=2.0), epoch(2, 0.5, loss=1.0))
    store.mirror(objective=objective).send()
    metrics = store.trial().data.metrics
    assert (metrics["best_val_accuracy"], metrics["best_train_loss"]) == (0.5, 1.0)


def test_a_metric_beside_the_objective_that_is_not_finite_keeps_no_epoch_from_being_best(
    store: Store,
) -> None:
    store.append(0, started(), epoch(1, 0.5, loss=math.nan), epoch(2, 0.25, loss=1.0))
    store.mirror().send()
    run = store.trial()
    assert run.data.metrics["best_val_accuracy"] == 0.5
    assert math.isnan(store.curve(run, "train_loss")[0][1])


def test_values_that_are_not_finite_are_kept_and_never_best(store: Store) -> None:
    store.append(
        0,
        started(),
        epoch(1, 0.5, loss=math.inf),
        epoch(2, math.nan, loss=math.nan),
        ended(TrialState.DIVERGED, epoch(1, 0.5), "loss is nan"),
    )
    mirror = store.mirror()
    mirror.send()
    store.paths.shipped(0).unlink()
    store.mirror().send()
    run = store.trial()
    accuracies = [value for _, value, _ in store.curve(run, "val_accuracy")]
    assert accuracies[0] == 0.5
    assert math.isnan(accuracies[1])
    assert len(accuracies) == 2
    assert len(store.curve(run, "train_loss")) == 2
    assert run.data.metrics["best_val_accuracy"] == 0.5


def test_long_texts_are_cut_and_of_a_traceback_the_end_is_kept(store: Store) -> None:
    details = "x" * 9000 + "the last line"
    note: dict[str, Any] = {"data.note": "p" * 7000}
    store.append(
        0,
        started(**note),
        ended(TrialState.FAILED, None, "c" * 9000, details),
    )
    store.mirror(searched=["data.note"]).send()
    run = store.trial()
    assert len(run.data.params["data.note"]) == 6000
    assert run.data.tags["sweeper.details"].endswith("the last line")
    assert len(run.data.tags["sweeper.details"]) == 8000
    assert run.data.tags["sweeper.cause"] == "c" * 8000


def test_more_params_and_points_than_one_request_may_carry(store: Store) -> None:
    params = {f"model.p{index:03d}": index for index in range(250)}
    epochs = [epoch(number, 0.5) for number in range(1, 1002)]
    store.append(0, started(**params), *epochs)
    store.mirror(searched=list(params)).send()
    run = store.trial()
    assert len(run.data.params) == 250
    assert len(store.curve(run, "train_loss")) == 1001


def snapshot(store: Store) -> list[object]:
    """Everything that resending could double."""
    seen: list[object] = []
    for run in [*store.runs("study"), *store.runs("trial")]:
        curves = {name: store.curve(run, name) for name in run.data.metrics}
        inputs = [data.dataset.digest for data in run.inputs.dataset_inputs]
        models = [model.model_id for model in run.outputs.model_outputs]
        seen.append((run.info.run_id, run.info.status, run.info.end_time))
        seen.append((run.data.params, run.data.tags, curves, inputs, models))
    return seen


def test_lost_cursors_double_nothing(store: Store) -> None:
    two_complete_trials(store)
    store.mirror().send()
    before = snapshot(store)
    for number in (0, 1):
        store.paths.shipped(number).unlink()
    assert store.mirror().send() == 8
    assert snapshot(store) == before


def test_a_torn_cursor_is_a_lost_cursor(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    two_complete_trials(store)
    store.mirror().send()
    before = snapshot(store)
    store.paths.shipped(0).write_text('{"parent_id": "ab')
    assert store.mirror().send() == 4
    assert snapshot(store) == before
    assert "sending this trial's events again" in caplog.text


def test_events_sent_before_a_crash_but_not_noted_are_not_doubled(store: Store) -> None:
    store.append(0, started(), epoch(1, 0.5))
    store.mirror().send()
    old_cursor = store.paths.shipped(0).read_bytes()
    store.append(0, epoch(2, 0.75), Interrupted(START_S + 3, "stop"))
    store.append(0, started(resumed=1), epoch(3, 0.5))
    store.mirror().send()
    before = snapshot(store)
    store.paths.shipped(0).write_bytes(old_cursor)
    assert store.mirror().send() == 4
    assert snapshot(store) == before


def test_a_run_created_before_a_crash_is_found_again(store: Store) -> None:
    parent = store.mirror().open()
    run = store.client.create_run(
        parent.experiment_id,
        tags={
            "mlflow.parentRunId": parent.run_id,
            "sweeper.kind": "trial",
            "sweeper.trial": "5",
        },
    )
    store.append(5, started(), epoch(1, 0.5))
    store.mirror().send()
    assert store.trial().info.run_id == run.info.run_id
    assert store.trial().data.metrics["val_accuracy"] == 0.5


def test_a_second_start_finds_the_parent_run(store: Store) -> None:
    first = store.mirror().open()
    second = store.mirror().open()
    assert second.run_id == first.run_id
    assert (first.is_new, second.is_new) == (True, False)
    assert len(store.runs("study")) == 1


def test_a_new_store_gets_everything(store: Store, tmp_path: Path) -> None:
    two_complete_trials(store)
    store.mirror().send()
    other = tmp_path / "mlruns" / "other.db"
    copy_empty_database(other)
    elsewhere = replace(store, uri=f"sqlite:///{other}", client=MlflowClient(f"sqlite:///{other}"))
    assert elsewhere.mirror().send() == 8
    assert [run.info.status for run in elsewhere.runs("trial")] == ["FINISHED", "FINISHED"]
    assert len(store.runs("trial")) == 2


def test_an_idle_pass_sends_nothing(store: Store) -> None:
    two_complete_trials(store)
    store.append(2, started())
    mirror = store.mirror()
    assert mirror.send() == 9
    store.paths.events(0).unlink()
    store.paths.shipped(0).unlink()
    assert mirror.send() == 0
    store.append(2, epoch(1, 0.5))
    assert mirror.send() == 1


@pytest.mark.parametrize(
    "foreign",
    [
        EpochMetrics(1, {"bleu": 0.5}, START_S),
        ended(TrialState.COMPLETE, EpochMetrics(1, {}, 0.0)),
    ],
)
def test_a_log_without_the_objective_is_refused_and_does_not_stop_the_others(
    store: Store, foreign: Event
) -> None:
    store.append(0, started(), foreign)
    store.append(1, started(), epoch(1, 0.5))
    with pytest.raises(TrackerError, match=r"0000/events\.jsonl: epoch 1 has no val_accuracy"):
        store.mirror().send()
    assert [run.data.tags["sweeper.trial"] for run in store.runs("trial")] == ["1"]


def test_a_trial_that_mlflow_refuses_does_not_stop_the_others(store: Store) -> None:
    refused = EpochMetrics(1, {"val_accuracy": 0.5, "a?b": 1.0}, START_S)
    store.append(0, started(), refused)
    store.append(1, started(), epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    store.paths.trial_dir(2).mkdir()
    store.paths.events(2).write_text("not json\n")
    mirror = store.mirror()
    for _ in range(2):
        with pytest.raises(TrackerError, match=r"MLflow refuses a request.*a\?b"):
            mirror.send()
    assert [run.info.status for run in store.runs("trial")] == ["RUNNING", "FINISHED"]


def test_a_broken_event_log_is_named(store: Store) -> None:
    store.paths.trial_dir(2).mkdir(parents=True)
    store.paths.events(2).write_text("not json\n")
    with pytest.raises(TrackerError, match=r"trials/0002/events.jsonl: an event cannot be read"):
        store.mirror().send()


def test_a_study_that_reached_its_goal_is_finished_and_shows_its_best(store: Store) -> None:
    two_complete_trials(store)
    mirror = store.mirror()
    mirror.send()
    counts = {TrialState.COMPLETE: 2, TrialState.PRUNED: 0}
    for _ in range(2):
        mirror.finish(goal_reached=True, best_trials=[1], counts=counts, seconds={}, sampler={})
    [parent] = store.runs("study")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["sweeper.best_trials"] == "1"
    assert parent.data.tags["sweeper.best_runs"] == store.runs("trial")[1].info.run_id
    assert parent.data.tags["sweeper.trials"] == "2 complete"
    assert store.curve(parent, "best_val_accuracy") == [(2, 0.75, 1_700_000_002_000)]


def test_a_study_stopped_before_its_goal_waits_and_runs_again(store: Store) -> None:
    two_complete_trials(store)
    mirror = store.mirror()
    mirror.send()
    mirror.finish(
        goal_reached=False, best_trials=[], counts={TrialState.COMPLETE: 2}, seconds={}, sampler={}
    )
    assert [run.info.status for run in store.runs("study")] == ["SCHEDULED"]
    store.mirror().open()
    assert [run.info.status for run in store.runs("study")] == ["RUNNING"]


def test_a_study_of_which_a_trial_runs_elsewhere_is_running(store: Store) -> None:
    two_complete_trials(store)
    mirror = store.mirror()
    mirror.send()
    counts = {TrialState.COMPLETE: 2, TrialState.RUNNING: 1}
    mirror.finish(goal_reached=False, best_trials=[], counts=counts, seconds={}, sampler={})
    assert [run.info.status for run in store.runs("study")] == ["RUNNING"]
    mirror.finish(goal_reached=True, best_trials=[], counts=counts, seconds={}, sampler={})
    assert [run.info.status for run in store.runs("study")] == ["FINISHED"]


def test_who_starts_nothing_leaves_the_parent_run_as_it_is(store: Store) -> None:
    mirror = store.mirror()
    mirror.finish(goal_reached=True, best_trials=[], counts={}, seconds={}, sampler={})
    before = [(run.info.status, run.info.end_time, run.data.tags) for run in store.runs("study")]
    store.append(0, started())
    assert store.mirror(is_start=False).send() == 1
    after = [(run.info.status, run.info.end_time, run.data.tags) for run in store.runs("study")]
    assert after == before


def test_a_deleted_experiment_is_explained(store: Store) -> None:
    parent = store.mirror().open()
    store.client.delete_experiment(parent.experiment_id)
    with pytest.raises(TrackerError, match="'digits' was deleted there; restore it with `mlflow"):
        store.mirror().open()


def test_an_unknown_scheme_is_explained(store: Store) -> None:
    with pytest.raises(TrackerError, match=r"^tracking.uri: htp://x: .* use http://host:port"):
        store.mirror(uri="htp://x").open()


def test_an_unreachable_server_is_reported_without_secrets_and_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    two_complete_trials(store)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        mirror = store.mirror(uri=f"http://ann:hunter2@{address}")
        for _ in range(2):
            with pytest.raises(
                TrackerError, match=rf"^tracking.uri: http://\*\*\*@{address}: "
            ) as e:
                mirror.send()
            assert "hunter2" not in str(e.value)
            assert "Nothing is lost" in str(e.value)
    assert not store.paths.shipped(0).exists()
    assert store.mirror().send() == 8


def test_a_store_that_stops_answering_gets_the_rest_later(store: Store) -> None:
    mirror = store.mirror()
    store.append(0, started(), epoch(1, 0.5))
    mirror.send()
    store.append(0, epoch(2, 0.75))
    with closing(sqlite3.connect(store.paths.mlflow_db)) as database:
        database.execute("ALTER TABLE metrics RENAME TO metrics_away")
        with pytest.raises(TrackerError, match="MLflow cannot be used"):
            mirror.send()
        database.execute("ALTER TABLE metrics_away RENAME TO metrics")
    assert mirror.send() == 1
    assert [step for step, *_ in store.curve(store.trial(), "val_accuracy")] == [1, 2]


def test_no_secret_is_sent(store: Store) -> None:
    secret = "hunter2"
    texts = all_forms(secret)
    store.paths.resolved_spec.write_text(
        f"name: digits\ncluster:\n  setup: ['export A={secret}']\ntrain:\n  api_key: {secret}\n"
        f"  database: postgresql://ann:{secret}@host/db\n"
    )
    for number, text in enumerate(texts[:3]):
        settings = {f"train.{place}": text for place, text in enumerate(texts)}
        begun = replace(started(), params={**settings, "train.token": secret})
        end = ended(TrialState.FAILED, epoch(1, 0.5), text, text)
        store.append(number, begun, epoch(1, 0.5), end)
    mirror = store.mirror(searched=list(settings)[::2])
    mirror.send()
    mirror.finish(
        goal_reached=False,
        best_trials=[],
        counts={},
        seconds={},
        sampler={"drawn": "\n".join(texts)},
    )
    files = [file for file in store.paths.artifacts.rglob("*") if file.is_file()]
    assert files
    for file in (*files, *store.paths.root.glob("mlflow.db*")):
        places = [part[-40:] for part in file.read_bytes().split(secret.encode())[:-1]]
        assert places == [], file
