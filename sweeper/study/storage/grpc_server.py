"""The other end of :mod:`.grpc_client`: many processes on few connections to a database.

PostgreSQL counts connections. Each process of each agent wants some, and one more whenever it
holds a lock. Behind a proxy they want none: it is Optuna's gRPC proxy, with the studies' locks
beside it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import grpc.aio
from optuna.storages import RDBStorage, get_storage
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.storages._grpc.servicer import OptunaStorageProxyService
from sqlalchemy.exc import SQLAlchemyError

from sweeper.study.storage.advisory_locks import AdvisorySession
from sweeper.study.storage.grpc_access import Access
from sweeper.study.storage.grpc_client import HOLD, KEEPALIVE, LOCKS, TRY_TO_HOLD
from sweeper.study.storage.postgres import let_go

#: Requests that are answered at once, each on a connection. More were no faster (16 agents that
#: did little but ask, 2, 4 and 15 of these): Python answers one after the other.
_MOST_AT_ONCE = 4
#: Between looks at a lock that someone has who does not use this proxy.
_POLL_S = 0.05
#: So long calls that are under way may take when it stops.
_GRACE_S = 1.0


class StorageServer:
    """Serves the studies in a database, in one event loop.

    Args:
        url: Of a PostgreSQL database; of itself, not of a pooler that shares connections out.

    Raises:
        Exception: Whatever the database's driver raises if it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        # Connections that a restart of the database broke are replaced before anybody meets one.
        self._storage = get_storage(let_go(RDBStorage(url, engine_kwargs={"pool_pre_ping": True})))
        self._locks = _Locks(url)
        self._server: Any = None

    async def start(self, host: str, port: int, access: Access) -> int:
        """Begin to serve.

        Args:
            host: Address to listen on; ``0.0.0.0`` for all of this machine.
            port: To listen on; 0 for one that is free.
            access: What is asked of clients.

        Returns:
            The port.

        Raises:
            OSError: If it cannot listen there.
        """
        service = OptunaStorageProxyService(self._storage)
        options = (*KEEPALIVE, ("grpc.so_reuseport", 0))  # else two proxies would share a port
        server = grpc.aio.server(
            ThreadPoolExecutor(_MOST_AT_ONCE), options=options, interceptors=access.interceptors
        )
        api_pb2_grpc.add_StorageServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        handlers = {
            HOLD: grpc.unary_stream_rpc_method_handler(self._locks.hold),
            TRY_TO_HOLD: grpc.unary_stream_rpc_method_handler(self._locks.try_to_hold),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(LOCKS, handlers),))
        try:
            port = access.listen(server, f"{host}:{port}")
        except RuntimeError as exc:
            raise OSError(f"cannot listen on {host}:{port}") from exc
        await server.start()
        self._server = server
        return port

    async def stop(self) -> None:
        """Take no more calls, and end those that are under way."""
        await self._server.stop(grace=_GRACE_S)


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
