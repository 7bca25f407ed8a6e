"""Who may use a proxy: both ends of the token that they share, and of TLS.

Whoever reaches the port of a proxy without a token can read, change and delete every study.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

from sweeper.errors import StudyError

#: In the environment, as other users can read a command line, and a study file is shared.
TOKEN, AUTHORITIES = "SWEEPER_PROXY_TOKEN", "SWEEPER_PROXY_CA"
_KEY = "authorization"
_TOKEN = re.compile(r"[!-~]{16,}")
_DIFFERENT = (
    f"this proxy wants the token that it was started with: set {TOKEN} to it where agents and "
    "commands run"
)


def read_token() -> str:
    """The token in the environment; empty if there is none.

    Raises:
        StudyError: If it is too short to be one, or no word.
    """
    token = os.environ.get(TOKEN, "")
    if token and not _TOKEN.fullmatch(token):
        raise StudyError(
            f"{TOKEN}: must be one word of 16 characters or more; such as "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` prints"
        )
    return token


def is_this_machine_alone(host: str) -> bool:
    """Whether only this machine reaches an address that is listened on."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def connect(url: str, options: Any) -> Any:
    """A channel to a proxy, which sends the environment's token with each call.

    Args:
        url: ``grpc://host:port``, or ``grpcs://host:port`` with TLS: the proxy's certificate must
            be one of the file that the environment names, or signed by one; by default by an
            authority that everybody trusts.
        options: Of the channel, as gRPC has them.

    Raises:
        StudyError: If the token or that file is of no use.
    """
    scheme, _, place = url.partition("://")
    if scheme == "grpcs":
        credentials = grpc.ssl_channel_credentials(_authorities())
        channel = grpc.secure_channel(place, credentials, options)
    else:
        channel = grpc.insecure_channel(place, options)
    token = read_token()
    return grpc.intercept_channel(channel, _Sender(token)) if token else channel


def _authorities() -> bytes | None:
    path = os.environ.get(AUTHORITIES)
    return read_file(Path(path), AUTHORITIES) if path else None


def read_file(path: Path, name: str) -> bytes:
    """The content of a certificate or a key.

    Raises:
        StudyError: If it cannot be read; it begins with ``name``.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StudyError(f"{name}: {path}: cannot be read: {exc.strerror}") from exc


class _Call(NamedTuple):
    """What gRPC asks of the details of a call; its own class of them cannot be made."""

    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Sender(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
):
    def __init__(self, token: str) -> None:
        self._token = token

    def intercept_unary_unary(
        self, call_on: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        return call_on(self._with_token(details), request)

    def intercept_unary_stream(
        self, call_on: Callable[..., Any], details: Any, request: Any
    ) -> Any:
        return call_on(self._with_token(details), request)

    def _with_token(self, details: Any) -> _Call:
        return _Call(
            details.method,
            details.timeout,
            [*(details.metadata or ()), (_KEY, f"Bearer {self._token}")],
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )


@dataclass(frozen=True)
class Access:
    """What a proxy asks of its clients.

    Attributes:
        token: Sent with each call; empty if anybody may call.
        certificate: The proxy's own, and those between it and an authority, as PEM; empty without
            TLS.
        key: Of the certificate.
    """

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""

    @property
    def interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """Of the server."""
        return [_Check(self.token)] if self.token else []

    def listen(self, server: Any, address: str) -> int:
        """Let the server listen there; the port."""
        if self.certificate:
            credentials = grpc.ssl_server_credentials([(self.key, self.certificate)])
            return int(server.add_secure_port(address, credentials))
        return int(server.add_insecure_port(address))


class _Check(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(self, go_on: Callable[[Any], Any], details: Any) -> Any:
        given = dict(details.invocation_metadata).get(_KEY, "")
        if compare_digest(given.encode(), self._expected):
            return await go_on(details)
        return grpc.unary_unary_rpc_method_handler(_refuse)


async def _refuse(request: bytes, call: Any) -> None:
    await call.abort(grpc.StatusCode.UNAUTHENTICATED, _DIFFERENT)
