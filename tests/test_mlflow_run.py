from pathlib import Path

import pytest

from sweeper.mlflow_run import MlflowRun
from sweeper.text import redacted

URI = "https://ann:hunter2@lab:5000"
RUN = MlflowRun(run_id="abc123", experiment_id="7", store=redacted(URI), resumed=2)


def test_a_run_is_found_as_it_was_left_and_the_password_is_in_the_environment_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mlflow_run.json"
    assert MlflowRun.load(path) is None
    RUN.save(path)
    assert MlflowRun.load(path) == RUN
    assert "hunter2" not in path.read_text()
    assert RUN.variables(URI) == {
        "MLFLOW_TRACKING_URI": URI,
        "MLFLOW_EXPERIMENT_ID": "7",
        "MLFLOW_RUN_ID": "abc123",
    }


def test_it_is_for_one_start_of_the_trial_in_one_store() -> None:
    assert RUN.is_for(URI, 2)
    assert not RUN.is_for(URI, 3)
    assert not RUN.is_for("https://ann:hunter2@other", 2)


def test_what_others_wrote_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow_run.json"
    path.write_text('{"run_id": "../x", "experiment_id": "7", "store": "s", "resumed": 0}')
    with pytest.raises(ValueError, match="run_id: must be up to 64 letters"):
        MlflowRun.load(path)
