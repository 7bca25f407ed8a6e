from pathlib import Path

import pytest
import torch
from torch import nn

from sweeper.commands.doctor.examine import examine_study
from sweeper.commands.sync import sync_study
from sweeper.config.settings import ModelConfig
from sweeper.events import FileLogged, TagsSet
from sweeper.study.running_trial import RunningTrial
from sweeper.tracking.exporter import Exporter
from sweeper.tracking.exporting import Exported, ExportKilledError, ExportTask
from sweeper.tracking.sync import build_mirror, send_all
from sweeper.training.user_files import keep_file
from sweeper.training.user_model import keep_model
from tests.support.examined_study import (
    HEALTHY,
    assert_found_and_mended,
    examine,
    execute,
    run_id,
)
from tests.support.sweep_studies import epoch, reports
from tests.support.tracked_sweeps import MODEL, TrackedSweep, begin_sweep


def test_a_run_in_another_state_than_its_trial(sweep: TrackedSweep) -> None:
    sweep.client.update_run(run_id(sweep, 0), "RUNNING")
    sweep.client.set_tag(run_id(sweep, 2), "sweeper.state", "complete")
    assert_found_and_mended(
        sweep,
        r"MLflow run of trial 0: it is RUNNING \(complete\), but the trial is complete in the "
        "storage; --fix sets it to FINISHED",
        r"MLflow run of trial 2: it is FINISHED \(complete\), but the trial is pruned",
    )
    assert [run.info.status for run in sweep.runs()] == ["FINISHED", "FINISHED", "FINISHED"]
    assert sweep.runs()[2].data.tags["sweeper.state"] == "pruned"


def test_a_pruned_run_as_older_code_ended_it_is_well(sweep: TrackedSweep) -> None:
    sweep.client.set_terminated(run_id(sweep, 2), "KILLED")
    assert examine(sweep) == (True, [HEALTHY])
    sweep.client.set_terminated(run_id(sweep, 1), "KILLED")
    assert_found_and_mended(sweep, "trial 1: it is KILLED .complete., but the trial is complete")


def test_missing_points_are_sent(sweep: TrackedSweep) -> None:
    execute(sweep, "DELETE FROM metrics WHERE key = 'val_accuracy' AND step > 1")
    assert_found_and_mended(
        sweep,
        "MLflow run of trial 0: 1 point missing; --fix sends what is miss",
        "MLflow run of trial 1: 2 points missing",
    )
    assert sweep.steps(1) == [1, 2, 3]


def test_a_doubled_point_is_undone(sweep: TrackedSweep) -> None:
    sweep.client.log_metric(run_id(sweep, 1), "val_accuracy", 0.6, 1_800_000_000_000, step=2)
    assert_found_and_mended(sweep, "trial 1: 1 point more than once; --fix makes the run anew")
    assert sweep.steps(1) == [1, 2, 3]


def test_params_that_are_missing_or_wrong(sweep: TrackedSweep) -> None:
    name = "train.learning_rate"
    execute(sweep, "DELETE FROM params WHERE run_uuid = ? AND key = ?", run_id(sweep, 0), name)
    execute(sweep, "UPDATE params SET value = '1' WHERE run_uuid = ?", run_id(sweep, 1))
    expected = sweep.study.trials()[0].params[name]
    assert_found_and_mended(
        sweep,
        "trial 0: 1 param missing; --fix sends",
        f"trial 1: params differ from the event log's: .*{name}.*; --fix makes the run anew",
    )
    assert float(sweep.runs()[0].data.params[name]) == expected


def test_another_best_than_that_of_the_event_log(sweep: TrackedSweep) -> None:
    sweep.client.log_metric(run_id(sweep, 0), "best_val_accuracy", 0.99, 1_800_000_000_000, 2)
    assert_found_and_mended(
        sweep, "trial 0: the best that it shows is not .*; --fix makes the run"
    )
    assert sweep.runs()[0].data.metrics["best_val_accuracy"] == 0.75


def test_metrics_that_older_code_let_user_code_report_are_not_missing(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    measured = epoch(1, 0.5, best_epoch=77.0, best_val_accuracy=9.0)
    sweep.run(lambda held: held.report(measured))
    sweep.send()
    healthy = "small: healthy: 1 trial, 1 epoch and 1 MLflow run agree"
    assert examine(sweep) == (True, [healthy])
    # As older code sent it.
    sweep.client.log_metric(run_id(sweep, 0), "best_epoch", 77.0, 1_800_000_000_000, 1)
    assert_found_and_mended(
        sweep, "trial 0: the best that it shows is not .*; --fix makes", healthy=healthy
    )


def test_a_missing_run_is_sent_again(sweep: TrackedSweep) -> None:
    sweep.client.delete_run(run_id(sweep, 1))
    assert_found_and_mended(sweep, "trial 1: MLflow has no run of it; --fix sends it")


def test_a_run_whose_events_are_elsewhere_is_only_told(sweep: TrackedSweep) -> None:
    sweep.client.delete_run(run_id(sweep, 1))
    sweep.paths.events(1).unlink()
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert lines == [
        "trial 1: MLflow has no run of it; "
        "run `sweeper sync` on the machine that has its event log",
        "small: 1 finding, 0 mended",
    ]


def test_what_another_machine_went_on_with_is_not_held_against_the_log_here(
    sweep: TrackedSweep,
) -> None:
    sweep.client.set_tag(run_id(sweep, 1), "sweeper.resumed", "1")
    execute(sweep, "DELETE FROM metrics WHERE step = 3")
    healthy = "small: healthy: 3 trials, 2 epochs and 3 MLflow runs agree"
    assert examine(sweep) == (True, [healthy])


def test_of_two_runs_of_a_trial_one_is_kept(sweep: TrackedSweep) -> None:
    kept = sweep.runs()[1]
    tags = {name: kept.data.tags[name] for name in ("mlflow.parentRunId", "sweeper.kind")}
    sweep.client.create_run(
        kept.info.experiment_id, start_time=1_000, tags={**tags, "sweeper.trial": "1"}
    )
    assert_found_and_mended(sweep, "trial 1: MLflow has 2 runs of it; --fix keeps one")
    assert sweep.runs()[1].info.run_id == kept.info.run_id


def test_a_missing_model_is_logged(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    weights = sweep.paths.model(0).read_bytes()
    sweep.paths.model(0).unlink()
    sweep.send()
    sweep.paths.model(0).write_bytes(weights)
    assert_found_and_mended(
        sweep,
        "trial 0: its model is missing; --fix sends",
        healthy="small: healthy: 1 trial, 1 epoch and 1 MLflow run agree",
    )
    [run] = sweep.runs()
    [model] = sweep.client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"


NETS = """
from torch import nn

def build(input_shape, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, n_outputs))
"""


def logged_by_code(held: RunningTrial) -> None:
    """A trial whose code logged a file, a tag and a model."""
    paths, number = held.study.paths, held.number
    digest = keep_file(paths.logged_files(number), "plots/a.txt", lambda to: to.write_text("a"))
    held.log(FileLogged(1.0, "plots/a.txt", digest))
    held.log(TagsSet(1.0, {"note": "x"}))
    model = keep_model(
        nn.Linear(4, 3),
        torch.ones(2, 4),
        program=paths.exported_model(number),
        weights=paths.model(number),
        time_s=1.0,
        note=pytest.fail,
    )
    held.log(model)
    held.report(epoch(1, 0.5))


def test_what_the_code_of_a_trial_logged_is_sent_again_where_it_is_missing(
    tmp_path: Path,
) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(logged_by_code)
    sweep.send()
    healthy = "small: healthy: 1 trial, 1 epoch and 1 MLflow run agree"
    assert examine(sweep) == (True, [healthy])
    run = sweep.runs()[0].info
    folder = Path(run.artifact_uri.removeprefix("file://"))
    (folder / "plots" / "a.txt").unlink()
    sweep.client.delete_tag(run.run_id, "note")
    sweep.client.delete_tag(run.run_id, "sweeper.model")
    [model] = sweep.client.search_logged_models([run.experiment_id])
    sweep.client.delete_logged_model(model.model_id)
    assert_found_and_mended(
        sweep,
        "trial 0: 1 tag missing, 1 file missing: plots/a.txt, its model is missing; --fix sends",
        healthy=healthy,
    )
    assert (folder / "plots" / "a.txt").read_text() == "a"
    assert sweep.runs()[0].data.tags["note"] == "x"
    [model] = sweep.client.search_logged_models([run.experiment_id])
    assert model.status == "READY"


def test_a_model_whose_code_a_carried_folder_lacked_is_logged_with_the_study_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(architecture="nets_of_doctor:build")
    (tmp_path / "nets_of_doctor.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    sweep = begin_sweep(tmp_path, trials=1, model={"architecture": model.architecture})
    sweep.run(reports(0.5), model=model)
    sync_study(sweep.paths.study_dir, root=sweep.root, note=lambda text: None)
    healthy = "small: healthy: 1 trial, 1 epoch and 1 MLflow run agree"
    lines: list[str] = []
    folder = sweep.paths.study_dir
    examine_study(folder, root=sweep.root, fix=False, show=lines.append, note=lambda text: None)
    assert lines == [healthy], "a folder has no code to call"
    assert_found_and_mended(
        sweep, "trial 0: its model is missing; --fix sends what is missing", healthy=healthy
    )
    assert sweep.runs()[0].data.tags["sweeper.model"] == "pt2"


class KilledExporter(Exporter):
    """One of which each export is killed."""

    def export(self, task: ExportTask, program: Path) -> Exported:
        raise ExportKilledError("killed by SIGKILL")


def test_a_model_whose_export_was_killed_is_logged_after_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    mirror = build_mirror(
        sweep.study.spec,
        sweep.paths,
        {},
        references=(),
        is_start=True,
        exporter=KilledExporter(),
    )
    send_all(mirror, sweep.study)
    assert sweep.runs()[0].data.tags["sweeper.model"] == "killed"
    assert "cannot be logged as pt2 (killed by SIGKILL)" in caplog.text
    assert "`sweeper doctor STUDY.yaml --fix` tries again to export the model of" in caplog.text
    assert_found_and_mended(
        sweep,
        "trial 0: its model is missing; --fix sends what is missing",
        healthy="small: healthy: 1 trial, 1 epoch and 1 MLflow run agree",
    )
    run = sweep.runs()[0]
    assert run.data.tags["sweeper.model"] == "pt2"
    [model] = sweep.client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"


def test_a_rebuilt_run_leaves_one_model(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    sweep.send()
    sweep.client.log_metric(run_id(sweep, 0), "val_accuracy", 0.6, 1_800_000_000_000, step=1)
    assert examine(sweep, fix=True)[0]
    [run] = sweep.runs()
    [model] = sweep.client.search_logged_models([run.info.experiment_id])
    assert model.source_run_id == run.info.run_id


def test_a_run_to_which_the_trials_own_code_logs_is_well(tmp_path: Path) -> None:
    train = {"function": "mine:run", "mlflow": "trial", "x": {"low": 0.0, "high": 1.0}}
    sweep = begin_sweep(tmp_path, trials=1, train=train)
    sweep.run(reports(0.5, 0.75))
    sweep.send()
    own = run_id(sweep, 0)
    for step in (1, 1, 900):  # told again after a restart, and some under names of reports
        sweep.client.log_metric(own, "loss_by_batch", 0.1 * step, step=step)
        sweep.client.log_metric(own, "val_accuracy", 0.1 * step, step=step)
    sweep.client.log_metric(own, "best_val_accuracy", 0.1, step=900)
    sweep.client.log_param(own, "depth", 3)
    sweep.client.create_run(sweep.runs()[0].info.experiment_id, tags={"mlflow.parentRunId": own})
    healthy = "small: healthy: 1 trial, 2 epochs and 1 MLflow run agree"
    assert examine(sweep) == (True, [healthy])
