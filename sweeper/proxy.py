"""``sweeper proxy``: many agents on few connections to a database.

PostgreSQL counts connections. Each process of each agent wants some, and one more whenever it
holds a lock. Behind a proxy they want none: it is Optuna's gRPC proxy, with the studies' locks
beside it.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakValueDictionary

from sweeper.advisory import AdvisorySession
from sweeper.errors import SpecError, StudyError
from sweeper.spec.address import storage_fault
from sweeper.storage import open_database

#: Requests that are answered at once, each on a connection. More were no faster (16 agents that
#: did little but ask, 2, 4 and 15 of these): Python answers one after the other.
_MOST_AT_ONCE = 4
#: Between looks at a lock that someone has who does not use this proxy.
_POLL_S = 0.05


def serve_proxy(url: str, *, host: str, port: int, show: Callable[[str], None]) -> None:
    """Serve the studies in a database until SIGTERM or Ctrl-C.

    Args:
        url: Of a PostgreSQL database.
        host: Address to listen on; ``0.0.0.0`` for all of this machine.
        port: To listen on; 0 for one that is free.
        show: Told where it listens, once it does.

    Raises:
        SpecError: If it is no such URL.
        StudyError: If the database or the port cannot be opened, or a package is missing.
    """
    fault = storage_fault(url)
    if fault or not url.startswith("postgresql"):
        raise SpecError(f"URL: {fault or 'only PostgreSQL can be served'}")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core prints what we raise
    try:
        import grpc  # noqa: F401
    except ImportError as exc:
        raise StudyError("the proxy needs `pip install 'sweeper[grpc,postgres]'`") from exc
    asyncio.run(_serve(url, host, port, show))


async def _serve(url: str, host: str, port: int, show: Callable[[str], None]) -> None:
    import grpc.aio
    from optuna.storages._grpc.auto_generated import api_pb2_grpc
    from optuna.storages._grpc.servicer import OptunaStorageProxyService

    from sweeper.proxied import HOLD, KEEPALIVE, LOCKS, TRY_TO_HOLD

    service = OptunaStorageProxyService(open_database(url, "URL"))
    options = (*KEEPALIVE, ("grpc.so_reuseport", 0))  # else two proxies would share a port
    server = grpc.aio.server(ThreadPoolExecutor(_MOST_AT_ONCE), options=options)
    api_pb2_grpc.add_StorageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    locks = _Locks(url)
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
    show(f"serving grpc://{host}:{port}; Ctrl-C ends it")
    await stopped.wait()
    await server.stop(grace=1)


class _Locks:
    """The database's own locks, all through one connection.

    A call holds one until it is cancelled, or its caller is gone. Calls queue here; who uses the
    database without this proxy is kept out as well, unless the database restarts meanwhile.
    """

    def __init__(self, url: str) -> None:
        self._queues: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._session = AdvisorySession(url)
        self._thread = ThreadPoolExecutor(1)

    async def hold(self, name: bytes, call: Any) -> None:
        """Wait for a lock, answer, and hold it."""
        await self._hold(name, call, waits=True)

    async def try_to_hold(self, name: bytes, call: Any) -> None:
        """As :meth:`hold`, but end without an answer where it would have to wait."""
        if not self._queue(name).locked():
            await self._hold(name, call, waits=False)

    async def _hold(self, name: bytes, call: Any, *, waits: bool) -> None:
        loop, words = asyncio.get_running_loop(), name.decode()
        async with self._queue(name):
            try:
                while not await loop.run_in_executor(
                    self._thread, self._session.try_to_take, words
                ):
                    if not waits:
                        return
                    await asyncio.sleep(_POLL_S)
                await call.write(b"")
                await asyncio.Event().wait()
            finally:
                # Not awaited: the thread does it before all that it is asked from now on.
                self._thread.submit(self._session.give_back, words)

    def _queue(self, name: bytes) -> asyncio.Lock:
        return self._queues.setdefault(name, asyncio.Lock())
