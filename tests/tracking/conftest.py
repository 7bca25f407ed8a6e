import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.paths import RunPaths
from sweeper.tracking import exported as exported_module
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import open_client
from tests.support.mlflow_store import copy_empty_database
from tests.support.tracked_study import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", "digits")
    paths.study_dir.mkdir(parents=True)
    paths.resolved_spec.write_text("name: digits\n")
    copy_empty_database(paths.mlflow_db)
    uri = tracking_uri("auto", paths)
    yield Store(paths, uri, open_client(uri, paths))
    assert os.listdir(tmp_path) == ["mlruns"], "MLflow wrote into the working directory"


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """What torch was given to export, in this order."""
    exported = []
    export = torch.export.export

    def export_and_note(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        exported.append(module)
        return export(module, *args, **kwargs)

    monkeypatch.setattr(exported_module, "import_export", lambda: None)  # of no trial's network
    monkeypatch.setattr(torch.export, "export", export_and_note)
    return exported
