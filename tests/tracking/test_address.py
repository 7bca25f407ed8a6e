import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.paths import RunPaths
from sweeper.tracking.address import tracking_uri


def test_a_study_file_names_the_store_before_the_environment_and_mlruns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(tmp_path, "digits")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("auto", paths) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert tracking_uri("auto", paths) == "http://lab:5000"
    assert tracking_uri("https://other", paths) == "https://other"


def test_the_address_is_known_without_loading_mlflow() -> None:
    code = "import sys, sweeper.tracking.address; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
