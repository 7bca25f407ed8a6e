from collections.abc import Callable

from sweeper.study.storage.grpc_client import ProxyLock


class Channel:
    """Of gRPC, as far as a lock uses it when it is made."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def unary_stream(self, path: str) -> Callable[[bytes], object]:
        self.paths.append(path)
        return lambda name: name


def test_the_calls_are_those_of_a_proxy_of_another_version() -> None:
    channel = Channel()
    ProxyLock(channel, "a lock")
    assert channel.paths == ["/sweeper.Locks/Hold", "/sweeper.Locks/TryToHold"]
