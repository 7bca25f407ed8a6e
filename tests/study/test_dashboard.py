import sys
from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.study.dashboard import build_dashboard
from tests.support.sweep_studies import begin_in_memory


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(StudyError, match=r"--dashboard needs `pip install 'sweeper\[dashboard"):
        build_dashboard(begin_in_memory(tmp_path))
