"""A study's storage and locks behind ``sweeper proxy``, for processes that work on it.

The storage is Optuna's ``GrpcStorageProxy``. A lock is a call that lasts as long as it is held.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc.auto_generated.api_pb2_grpc import StorageServiceStub
from optuna.storages._grpc.client import GrpcClientCache

from sweeper.study.storage.grpc_access import connect

#: Paths of the calls that hold a lock; the request is its name, the one answer is empty.
LOCKS = "sweeper.Locks"
HOLD, TRY_TO_HOLD = "Hold", "TryToHold"
#: Of either side: one that has not answered for so long is gone, and its locks are free.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
#: gRPC would wait up to two minutes before it looks again for a proxy that was away.
_CHANNEL = (
    *KEEPALIVE,
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # $http_proxy is for what lies outside of the cluster
)


class ProxyLock:
    """A lock of that name among all who use the proxy, free once its holder is gone.

    Args:
        channel: As :func:`open_channel` makes it.
        name: Of the lock.
    """

    def __init__(self, channel: Any, name: str) -> None:
        self._hold = channel.unary_stream(f"/{LOCKS}/{HOLD}")
        self._try_to_hold = channel.unary_stream(f"/{LOCKS}/{TRY_TO_HOLD}")
        self._name = name.encode()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within a ``with`` block.

        Raises:
            ConnectionError: If the connection broke meanwhile, so that others may have held it.
        """
        with self._during(self._hold) as is_held:
            if not is_held:
                raise ConnectionError("the proxy did not give a lock")
            yield

    @contextmanager
    def tried(self) -> Iterator[bool]:
        """As :meth:`held`, without waiting: whether it is held in the block."""
        with self._during(self._try_to_hold) as is_held:
            yield is_held

    @contextmanager
    def _during(self, method: Callable[[bytes], Any]) -> Iterator[bool]:
        call = method(self._name)
        try:
            is_held = next(call, None) is not None
            yield is_held
            if is_held and not call.is_active():
                raise ConnectionError("the connection to the proxy broke, and with it a lock")
        finally:
            call.cancel()


class ProxiedStorage(GrpcStorageProxy):
    """Optuna's, over a channel that notices when the proxy is gone, and soon when it is back.

    Args:
        url: ``grpc://host:port``, or ``grpcs://host:port``.

    Raises:
        grpc.RpcError: If no proxy answers there.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__()
        with suppress(KeyError):  # it connects with the first question only
            self.get_study_id_from_name("")

    def set_trial_param(self, trial_id: int, *values: Any) -> None:
        """As Optuna's, whose proxy knows a trial only once it was asked for all of its study."""
        try:
            super().set_trial_param(trial_id, *values)
        except KeyError:  # the proxy was started anew
            for study_id in self._cache.studies:
                self.get_all_trials(study_id, deepcopy=False)
            super().set_trial_param(trial_id, *values)

    def _setup(self) -> None:
        self._channel = open_channel(self._url)
        self._stub = StorageServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._cache = GrpcClientCache(self._stub)


def open_channel(url: str) -> Any:
    """The connection to a proxy, for any number of threads."""
    return connect(url, _CHANNEL)
