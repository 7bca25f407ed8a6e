"""A page of ours on this machine, for whoever has the secret of its start and for nobody else.

A port on 127.0.0.1 is open to every user of the machine, and to every web page that its browsers
show. So each start draws a secret, which stands in the links that are printed; a browser keeps it
as a cookie. The page runs in this process, behind the guard: there is no second way in.
"""

import asyncio
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

from sweeper.errors import TrackerError

HOST = "127.0.0.1"
#: So long answers that are under way may take when it stops.
_GRACE_S = 2
_PARAMETER = "token"


class GuardedPort:
    """A port on 127.0.0.1 that is ours from now on, and the secret of what is served there.

    Args:
        port: To listen on; 0 for one that is free.

    Raises:
        TrackerError: If it is taken.
    """

    def __init__(self, port: int) -> None:
        self._secret = secrets.token_urlsafe(32)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((HOST, port))
            self.socket.listen()  # who opens a link at once waits until the page is there
        except OSError as exc:
            self.socket.close()
            raise TrackerError(
                f"port {port} on {HOST} is taken ({exc.strerror}); is the UI running already? "
                f"Else choose another: --port {port + 1}"
            ) from exc
        self.port: int = self.socket.getsockname()[1]

    def link(self, place: str = "/") -> str:
        """The address of a place on the page, with the secret.

        Args:
            place: Path, query and fragment, as in ``/?a=b#/experiments/1``.
        """
        parts = urlsplit(place)
        query = "&".join(filter(None, (parts.query, urlencode({_PARAMETER: self._secret}))))
        return parts._replace(scheme="http", netloc=f"{HOST}:{self.port}", query=query).geturl()

    def guard(self, page: "ASGIApp") -> "ASGIApp":
        """The page as it may be served here."""
        return Guard(page, self._secret, cookie=f"sweeper-{self.port}")


class Guard:
    """Lets requests through to a page that bring its secret, and none from another web page.

    Args:
        page: An ASGI application.
        secret: In the query of the first request; in a cookie from then on.
        cookie: Its name. Cookies know no ports, so it differs between pages of one host.
    """

    def __init__(self, page: "ASGIApp", secret: str, *, cookie: str) -> None:
        self._page = page
        self._secret = secret.encode()
        self._cookie = cookie

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            return await _close(scope, send)
        request = HTTPConnection(scope)
        if _is_from_another_page(request):
            answer: ASGIApp = PlainTextResponse("Another web page asked for this.\n", 403)
        elif self._is_secret(request.query_params.get(_PARAMETER)):
            answer = self._let_in(request)
        elif self._is_secret(request.cookies.get(self._cookie)):
            answer = self._page
        else:
            answer = PlainTextResponse("Open the link that `sweeper ui` has printed.\n", 401)
        return await answer(scope, receive, send)

    def _is_secret(self, word: str | None) -> bool:
        return word is not None and compare_digest(word.encode(), self._secret)

    def _let_in(self, request: "HTTPConnection") -> "ASGIApp":
        """To the same place without the secret, which is then in no address that is copied."""
        from starlette.responses import RedirectResponse

        rest = [pair for pair in request.query_params.multi_items() if pair[0] != _PARAMETER]
        last = request.url.path.rpartition("/")[2]  # relative: a proxy may add a path before it
        answer = RedirectResponse(f"./{last}?{urlencode(rest)}".rstrip("?"), 303)
        # Not strict: who clicks the link in a terminal that is a web page comes from another site.
        answer.set_cookie(self._cookie, self._secret.decode(), httponly=True, samesite="lax")
        return answer


def serve(pages: "dict[GuardedPort, ASGIApp]", announce: Callable[[], None]) -> None:
    """Serve pages behind their guards until Ctrl-C or SIGTERM.

    Args:
        pages: Port -> what is served there.
        announce: Called once the links can be opened, and either signal ends it well.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(pages, announce))


async def _serve(pages: "dict[GuardedPort, ASGIApp]", announce: Callable[[], None]) -> None:
    from uvicorn import Config, Server

    servers = []
    for port, page in pages.items():
        config = Config(
            port.guard(page),
            lifespan="off",
            log_config=None,  # ours, which keeps secrets out
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        servers.append(Server(config).serve(sockets=[port.socket]))
    served = asyncio.gather(*servers)
    asyncio.get_running_loop().call_soon(announce)  # after the first step of each, at least
    await served


def _is_from_another_page(request: "HTTPConnection") -> bool:
    """Browsers send a cookie along whichever page asks, also one of another port of this host."""
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


async def _close(scope: "Scope", send: "Send") -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
