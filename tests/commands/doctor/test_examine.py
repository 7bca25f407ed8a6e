"""Each fault is made for real, found, mended, and then the study is in order."""

import socket
from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.training.checkpoint import save_checkpoint
from tests.support.examined_study import HEALTHY, examine
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


def test_a_study_in_order_takes_one_line(sweep: TrackedSweep) -> None:
    assert examine(sweep) == (True, [HEALTHY])
    assert examine(sweep, fix=True) == (True, [HEALTHY])


def test_a_study_that_has_not_begun_is_told_so(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.paths.resolved_spec.unlink()
    with pytest.raises(StudyError, match="'small' has not begun: sweeper run .*small.yaml"):
        examine(sweep)


def test_without_mlflow_the_other_checks_are_done(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://ann:hunter2@127.0.0.1:{unused.getsockname()[1]}"
        sweep = begin_sweep(tmp_path, trials=1, tracking={"uri": uri})
        sweep.run(reports(0.5))
        save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
        is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert "MLflow cannot be used" in lines[0]
    assert "hunter2" not in lines[0]
    assert lines[1].startswith("event logs: 3 events of 1 trial yet to be sent to MLflow; `s")
    assert lines[2].startswith("mended: ")
    assert lines[3] == "small: 3 findings, 1 mended"
    assert not sweep.paths.checkpoint(0).exists()


def test_without_the_storage_nothing_is_taken_for_an_orphan(sweep: TrackedSweep) -> None:
    save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
    sweep.paths.journal.unlink()
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert lines == [
        "storage: the storage has no study 'small'; "
        "so trials, checkpoints and MLflow are not looked at",
        "small: 1 finding, 0 mended",
    ]
    assert sweep.paths.checkpoint(0).exists()
