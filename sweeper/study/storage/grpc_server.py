"""``sweeper proxy``: many agents on few connections to a database.

PostgreSQL counts connections. Each process of each agent wants some, and one more whenever it
holds a lock. Behind a proxy they want none: it is Optuna's gRPC proxy, with the studies' locks
beside it.
"""

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.exc import SQLAlchemyError

from sweeper.config.urls import storage_fault
from sweeper.errors import SpecError, StudyError
from sweeper.study.storage.advisory_locks import AdvisorySession
from sweeper.study.storage.backend import describe

#: Requests that are answered at once, each on a connection. More were no faster (16 agents that
#: did little but ask, 2, 4 and 15 of these): Python answers one after the other.
_MOST_AT_ONCE = 4
#: Between looks at a lock that someone has who does not use this proxy.
_POLL_S = 0.05


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
    try:
        import sweeper.study.storage.grpc_client  # noqa: F401
    except (ImportError, RuntimeError) as exc:  # gRPC's own word for a version that is too old
        raise StudyError(f"the proxy needs `pip install 'sweeper[grpc,postgres]'`: {exc}") from exc
    try:
        # Connections that a restart of the database broke are replaced before anybody meets one.
        storage = get_storage(RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
    except Exception as exc:  # whatever the database's driver raises
        raise StudyError(
            f"URL: cannot open the database ({describe(exc)}); check that its server runs and the "
            "URL is right; psycopg comes with `pip install 'sweeper[postgres]'`"
        ) from exc
    asyncio.run(_serve(storage, _Locks(url), host, port, show))


async def _serve(
    storage: BaseStorage, locks: "_Locks", host: str, port: int, show: Callable[[str], None]
) -> None:
    import grpc.aio
    from optuna.storages._grpc.auto_generated import api_pb2_grpc
    from optuna.storages._grpc.servicer import OptunaStorageProxyService

    from sweeper.study.storage.grpc_client import HOLD, KEEPALIVE, LOCKS, TRY_TO_HOLD

    service = OptunaStorageProxyService(storage)
    options = (*KEEPALIVE, ("grpc.so_reuseport", 0))  # else two proxies would share a port
    server = grpc.aio.server(ThreadPoolExecutor(_MOST_AT_ONCE), options=options)
    api_pb2_grpc.add_StorageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    handlers = {
        HOLD: grpc.unary_stream_rpc_method_handler(locks.hold),
        TRY_TO_HOLD: grpc.unary_stream_rpc_method_handler(locks.try_to_hold),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(LOCKS, handlers),))
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as exc:
        raise StudyError(
            f"cannot listen on {host}:{port}; does a proxy run there already? "
            f"Else choose another --port, or a --host that is an address of this machine"
        ) from exc
    await server.start()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    name = socket.gethostname() if host == "0.0.0.0" else host
    show(f"serving grpc://{name}:{port}; Ctrl-C ends it")
    await stopped.wait()
    await server.stop(grace=1)


class _Locks:
    """The database's own locks, all through one connection.

    A call holds one until it is cancelled, its caller is gone, or the connection breaks. Calls
    queue here; who uses the database without this proxy is kept out as well.
    """

    def __init__(self, url: str) -> None:
        self._queues: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._session = AdvisorySession(url)
        self._thread = ThreadPoolExecutor(1)
        self._lost = asyncio.Event()

    async def hold(self, name: bytes, call: Any) -> None:
        """Wait for a lock, answer, and hold it."""
        await self._hold(name, call, waits=True)

    async def try_to_hold(self, name: bytes, call: Any) -> None:
        """As :meth:`hold`, but end without an answer where it would have to wait."""
        if name not in self._queues:
            await self._hold(name, call, waits=False)

    async def _hold(self, name: bytes, call: Any, *, waits: bool) -> None:
        async with self._queues.setdefault(name, asyncio.Lock()):
            try:
                while (lost := await self._take(name.decode())) is None:
                    if not waits:
                        return
                    await asyncio.sleep(_POLL_S)
                await call.write(b"")
                await lost.wait()
            finally:
                # Not awaited: the thread does it before all that it is asked from now on.
                self._thread.submit(self._session.give_back, name.decode())

    async def _take(self, name: str) -> asyncio.Event | None:
        """What is set once the lock is lost; None if somebody else has it."""
        loop, lost = asyncio.get_running_loop(), self._lost
        take = partial(loop.run_in_executor, self._thread, self._session.try_to_take, name)
        try:
            is_taken = await take()
        except SQLAlchemyError:
            if lost is self._lost:
                lost.set()
                self._lost = asyncio.Event()
            lost = self._lost
            is_taken = await take()  # through another connection
        return lost if is_taken else None
