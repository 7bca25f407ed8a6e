"""``sweeper proxy``: let more agents work on PostgreSQL than it has connections."""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeper.config.urls import storage_fault
from sweeper.errors import SpecError, StudyError
from sweeper.study.storage.backend import describe

if TYPE_CHECKING:
    from sweeper.study.storage.grpc_server import StorageServer


def serve_proxy(url: str, *, host: str, port: int, show: Callable[[str], None]) -> None:
    """Serve the studies in a database until SIGTERM or Ctrl-C.

    Args:
        url: Of a PostgreSQL database; of itself, not of a pooler that shares connections out.
        host: Address to listen on; ``0.0.0.0`` for all of this machine.
        port: To listen on; 0 for one that is free.
        show: Told where it listens, once it does.

    Raises:
        SpecError: If it is no such URL.
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
    asyncio.run(_serve(_open(url), host, port, show))


def _open(url: str) -> "StorageServer":
    try:
        from sweeper.study.storage.grpc_server import StorageServer
    except (ImportError, RuntimeError) as exc:  # gRPC's own word for a version that is too old
        raise StudyError(f"the proxy needs `pip install 'sweeper[grpc,postgres]'`: {exc}") from exc
    try:
        return StorageServer(url)
    except Exception as exc:  # whatever the database's driver raises
        raise StudyError(
            f"URL: cannot open the database ({describe(exc)}); check that its server runs and the "
            "URL is right; psycopg comes with `pip install 'sweeper[postgres]'`"
        ) from exc


async def _serve(
    server: "StorageServer", host: str, port: int, show: Callable[[str], None]
) -> None:
    try:
        port = await server.start(host, port)
    except OSError as exc:
        raise StudyError(
            f"{exc}; does a proxy run there already? "
            "Else choose another --port, or a --host that is an address of this machine"
        ) from exc
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    name = socket.gethostname() if host == "0.0.0.0" else host
    show(f"serving grpc://{name}:{port}; Ctrl-C ends it")
    await stopped.wait()
    await server.stop()
