"""A real MLflow server, which benchmarks and tests start and stop."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
_PATIENCE_S = 90


class MlflowServer:
    """Its files lie in ``folder``; it keeps them and its address from one start to the next.

    Args:
        folder: There already.
        cores: Numbers of the cores that it may use; None for all.
        database: URL of its store; None for SQLite in ``folder``.
        artifacts: Where it keeps what it is sent; None for a folder in ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cores: Iterable[int] | None = None,
        database: str | None = None,
        artifacts: str | None = None,
    ) -> None:
        self._folder = folder
        self._cores = cores
        self._database = database or f"sqlite:///{folder}/server.db"
        self._artifacts = artifacts or f"{folder}/artifacts"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address, whether it runs or not."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: If it does not.
        """
        words = ["server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        words += ["--backend-store-uri", self._database]
        words += ["--artifacts-destination", self._artifacts]
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words],
                env={**os.environ, **_QUIET},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._take_cores,
            )
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            time.sleep(0.1)
        raise RuntimeError(f"the MLflow server did not start; see {self._folder}/server.log")

    def _take_cores(self) -> None:
        if self._cores is not None:
            os.sched_setaffinity(0, self._cores)

    def stop(self) -> None:
        """Kill it and its processes, if it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
