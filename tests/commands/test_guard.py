import asyncio
import re
from urllib.parse import urlsplit

import pytest
from starlette.types import Message, Receive, Scope, Send

from sweeper.commands.guard import Guard, GuardedPort
from sweeper.errors import TrackerError

SECRET = "s3cr3t"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Says which path it was asked for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def ask(place: str, kind: str = "http", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and content of what the guard answers."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    parts = urlsplit(place)
    scope = {
        "type": kind,
        "method": "GET",
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [
            (name.encode(), value.encode()) for name, value in {"host": "h:1", **headers}.items()
        ],
    }
    asyncio.run(Guard(page, SECRET, cookie="sweeper-1")(scope, receive, send))
    if kind != "http":
        return sent[0]["code"], {}, b""
    given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], given, sent[1]["body"]


@pytest.mark.parametrize(
    "place", ["/", "/?token=", "/?token=S3CR3T", "/?token=\u00e4", "/a?tokens=s"]
)
@pytest.mark.parametrize("cookie", ["", "sweeper-1=", "sweeper-1=x", "sweeper-2=s3cr3t", "s3cr3t"])
def test_without_the_secret_nothing_is_answered(place: str, cookie: str) -> None:
    status, _, body = ask(place, cookie=cookie)
    assert (status, body) == (401, b"Open the link that `sweeper ui` has printed.\n")


def test_the_cookie_opens_every_place() -> None:
    assert ask("/a/b?c=d", cookie="other=1; sweeper-1=s3cr3t")[::2] == (200, b"/a/b")


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("/?token=s3cr3t", "./"),
        ("/?a=b%20c&token=s3cr3t&d=e", "./?a=b+c&d=e"),
        ("/dashboard/studies/0?token=s3cr3t", "./0"),
        ("/https://example.org?token=s3cr3t", "./example.org"),
        ("/javascript:x?token=s3cr3t", "./javascript:x"),
    ],
)
def test_the_link_sets_the_cookie_and_leads_to_the_same_place(place: str, target: str) -> None:
    status, headers, _ = ask(place)
    assert (status, headers["location"]) == (303, target)
    assert headers["set-cookie"] == "sweeper-1=s3cr3t; HttpOnly; Path=/; SameSite=lax"


@pytest.mark.parametrize(
    "origin", ["http://h:2", "http://h", "https://example.org", "null", "http://["]
)
def test_another_web_page_gets_nothing_although_the_browser_sends_the_cookie(origin: str) -> None:
    assert ask("/", cookie="sweeper-1=s3cr3t", origin=origin)[0] == 403
    assert ask("/", cookie="sweeper-1=s3cr3t", origin="http://h:1")[0] == 200


def test_what_is_no_request_for_a_page_is_closed() -> None:
    assert ask("/", kind="websocket", cookie="sweeper-1=s3cr3t")[0] == 1008


def test_links_hold_the_secret_before_the_fragment() -> None:
    guarded = GuardedPort(0)
    start = f"http://127.0.0.1:{guarded.port}"
    assert re.fullmatch(rf"{start}/\?token=[\w-]{{43}}", guarded.link())
    assert re.fullmatch(rf"{start}/a\?b=c&token=[\w-]+#/d\?e=f", guarded.link("/a?b=c#/d?e=f"))
    assert urlsplit(guarded.link()).query != urlsplit(GuardedPort(0).link()).query


def test_a_port_that_is_taken_is_told() -> None:
    taken = GuardedPort(0)
    told = rf"port {taken.port} on 127.0.0.1 is taken \(Address already"
    with pytest.raises(TrackerError, match=told):
        GuardedPort(taken.port)
