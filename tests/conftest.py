import os

import pytest

# Two threads of a small step wait for each other whenever something else needs a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's user has set must not decide a test."""
    for name in ("MLFLOW_TRACKING_URI", "SWEEPER_DATA"):
        monkeypatch.delenv(name, raising=False)
