"""``sweeper proxy``: let more agents work on PostgreSQL than it has connections."""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.config.urls import storage_fault
from sweeper.errors import SpecError, StudyError
from sweeper.study.storage.backend import describe

if TYPE_CHECKING:
    from sweeper.study.storage.grpc_access import Access
    from sweeper.study.storage.grpc_server import StorageServer


@dataclass(frozen=True)
class Doors:
    """Where a proxy listens, and what it asks of those who come.

    Attributes:
        host: Address to listen on; ``0.0.0.0`` for all of this machine.
        port: To listen on; 0 for one that is free.
        certificate: File of the proxy's own certificate, PEM; None without TLS.
        key: File of its key.
        is_insecure: Other machines may come without a token.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    is_insecure: bool = False


def serve_proxy(
    url: str, doors: Doors, *, show: Callable[[str], None], note: Callable[[str], None]
) -> None:
    """Serve the studies in a database until SIGTERM or Ctrl-C.

    Args:
        url: Of a PostgreSQL database; of itself, not of a pooler that shares connections out.
        doors: Where it listens, and for whom.
        show: Told where it listens, once it does.
        note: Told who gets in, if that is anybody.

    Raises:
        SpecError: If it is no such URL, or the doors would stand open without anybody's wish.
        StudyError: If the database or the port cannot be opened, or a package is missing.
    """
    if not url.startswith("postgresql"):
        raise SpecError("URL: must be postgresql+psycopg://host/name; no other can be served")
    if fault := storage_fault(url):
        raise SpecError(f"URL: {fault}")
    # What their clients are told as well.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # one for each process
    access = _read_access(doors, note)
    asyncio.run(_serve(_open(url), doors, access, show))


def _read_access(doors: Doors, note: Callable[[str], None]) -> "Access":
    with _package_errors():
        from sweeper.study.storage import grpc_access
    if (doors.certificate is None) != (doors.key is None):
        raise SpecError("--tls-cert and --tls-key belong together: the certificate and its key")
    token = grpc_access.read_token()
    is_alone = grpc_access.is_this_machine_alone(doors.host)
    if not token:
        danger = "can read, change and delete every study in the database"
        if not (is_alone or doors.is_insecure):
            raise SpecError(
                f"--host {doors.host}: without a token, whoever reaches the port {danger}; set "
                f"{grpc_access.TOKEN} to the same long word here and where agents and commands "
                "run, or say --insecure if everybody who can reach the port may do that"
            )
        who = "every user of this machine" if is_alone else "whoever reaches the port"
        note(f"there is no {grpc_access.TOKEN}: {who} {danger}")
    if doors.certificate is None or doors.key is None:
        return grpc_access.Access(token)
    certificate = grpc_access.read_file(doors.certificate, "--tls-cert")
    return grpc_access.Access(token, certificate, grpc_access.read_file(doors.key, "--tls-key"))


@contextmanager
def _package_errors() -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError) as exc:  # gRPC's own word for a version that is too old
        raise StudyError(f"the proxy needs `pip install 'sweeper[grpc,postgres]'`: {exc}") from exc


def _open(url: str) -> "StorageServer":
    with _package_errors():
        from sweeper.study.storage.grpc_server import StorageServer
    try:
        return StorageServer(url)
    except Exception as exc:  # whatever the database's driver raises
        raise StudyError(
            f"URL: cannot open the database ({describe(exc)}); check that its server runs and the "
            "URL is right; psycopg comes with `pip install 'sweeper[postgres]'`"
        ) from exc


async def _serve(
    server: "StorageServer", doors: Doors, access: "Access", show: Callable[[str], None]
) -> None:
    try:
        port = await server.start(doors.host, doors.port, access)
    except OSError as exc:
        raise StudyError(
            f"{exc}; does a proxy run there already? "
            "Else choose another --port, or a --host that is an address of this machine"
        ) from exc
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    name = socket.gethostname() if doors.host == "0.0.0.0" else doors.host
    scheme = "grpcs" if access.certificate else "grpc"
    show(f"serving {scheme}://{name}:{port}; Ctrl-C ends it")
    await stopped.wait()
    await server.stop()
