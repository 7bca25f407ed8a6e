"""``sweeper ui`` as other users of the machine meet it, and as its own user does."""

import http.client
import json
import os
import pwd
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar
from itertools import takewhile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from sweeper.config.reader import load_study
from sweeper.study.create import create_study
from tests.support.forks import FORKS
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep import PATIENCE_S, Sweep, kill_group

pytestmark = pytest.mark.gate  # a whole command

PATHS = (
    "/",
    "/?token=",
    "/?token=wrong",
    "/health",
    "/version",
    "/static-files/favicon.ico",
    "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0",
    "/api/2.0/mlflow/experiments/get?experiment_id=0",
    "/ajax-api/3.0/mlflow/server-info",
    "/get-artifact?path=MLmodel&run_uuid=0",
    "/api/2.0/mlflow-artifacts/artifacts",
    "//",
    "/%2e%2e/health",
)
POSTS = (
    "/api/2.0/mlflow/experiments/create",
    "/ajax-api/2.0/mlflow/experiments/delete",
    "/graphql",
    "/v1/traces",
    "/ajax-api/3.0/mlflow/assistant/message",
)


class Page:
    """What ``sweeper ui`` has printed, and its user's browser."""

    def __init__(self, process: subprocess.Popen[str], link: str) -> None:
        self.process = process
        self.link = link
        self.host = urlsplit(self.link).netloc
        self.port = int(self.host.rpartition(":")[2])
        self.address = ("127.0.0.1", self.port)
        self.token = urlsplit(self.link).query.removeprefix("token=")
        self._browser = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )
        self._browser.open(self.link).close()

    def get(self, path: str, **headers: str) -> bytes:
        request = urllib.request.Request(f"http://{self.host}{path}", headers=headers)
        with self._browser.open(request) as answer:
            content: bytes = answer.read()
        return content

    def status(self, path: str, **headers: str) -> int:
        try:
            self.get(path, **headers)
        except urllib.error.HTTPError as exc:
            return exc.code
        return 200

    def create(self, what: str, **fields: str) -> Any:
        request = urllib.request.Request(
            f"http://{self.host}/ajax-api/2.0/mlflow/{what}/create",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
        )
        with self._browser.open(request) as answer:
            return json.load(answer)


@contextmanager
def serving(sweep: Sweep, *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """``sweeper ui``, and what it has printed: label -> link."""
    process = subprocess.Popen(
        sweep.command("ui", "sweep.yaml", "--port", "0", *words),
        cwd=sweep.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        lines = takewhile("Ctrl-C ends it\n".__ne__, process.stdout)
        yield process, dict(line.strip().split(": ", 1) for line in lines)
    finally:
        kill_group(process)


@contextmanager
def served(sweep: Sweep) -> Iterator[Page]:
    with serving(sweep) as (process, links):
        yield Page(process, links["MLflow UI"])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    sweep = Sweep(tmp_path_factory.mktemp("ui"))
    sweep.write_default(trials=1)
    sweep.paths.artifacts.mkdir(parents=True)
    copy_empty_database(sweep.paths.mlflow_db)
    return sweep


@pytest.fixture(scope="module")
def page(sweep: Sweep) -> Iterator[Page]:
    with served(sweep) as page:
        yield page


def ask_as_nobody(host: str, listening: list[Any], told: Connection) -> None:
    """What a user of no rights gets to see of the page, and where else it gets in."""
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    answers = {}
    for method, paths in (("GET", PATHS), ("POST", POSTS)):
        for path in paths:
            connection = http.client.HTTPConnection(host, timeout=PATIENCE_S)
            connection.request(method, path, "{}", {"Cookie": "sweeper=; token=wrong"})
            answer = connection.getresponse()
            answers[path] = (answer.status, answer.read())
    told.send(answers)
    told.send([address for address in listening if is_open(address)])


def is_open(address: Any) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return client.connect_ex(address) == 0


def listening_of(session: int) -> list[Any]:
    """Sockets of all processes of a session on which somebody listens."""
    inodes = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                links = [os.readlink(file) for file in (folder / "fd").iterdir()]
                inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    tcp = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    ports = [int(words[1][-4:], 16) for words in tcp if words[3] == "0A" and words[9] in inodes]
    names = [words[7] for words in unix if len(words) == 8 and words[6] in inodes]
    return [("127.0.0.1", port) for port in ports] + [name.replace("@", "\0") for name in names]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_gets_nothing(page: Page) -> None:
    listening = listening_of(page.process.pid)
    assert page.address in listening
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=ask_as_nobody, args=(page.host, listening, theirs))
    process.start()
    theirs.close()
    answers, doors = ours.recv(), ours.recv()
    process.join()
    assert {status for status, _ in answers.values()} == {401}
    assert {body for _, body in answers.values()} == {
        b"Open the link that `sweeper ui` has printed.\n"
    }
    assert doors == [page.address]


def test_no_command_line_and_no_environment_holds_the_token(page: Page) -> None:
    assert len(page.token) >= 32
    for name in ("cmdline", "environ"):
        for file in Path("/proc").glob(f"[0-9]*/{name}"):
            with suppress(OSError):
                assert page.token.encode() not in file.read_bytes()


def test_its_user_sees_the_page_after_the_link(page: Page) -> None:
    assert b"<title>MLflow</title>" in page.get("/")
    assert b"Default" in page.get("/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")


def test_another_web_page_of_the_same_browser_gets_nothing(page: Page) -> None:
    path = "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0"
    assert page.status(path, Origin=f"http://{page.host}") == 200
    for origin in ("http://127.0.0.1:6006", "http://localhost", "https://example.org", "null"):
        assert page.status(path, Origin=origin) == 403


def artifacts_at(page: Page, location: str, folder: Path) -> tuple[int, int]:
    """How MLflow answers when it shall list the artifacts of a run there, and send one.

    Args:
        page: Is asked.
        location: Of the run's experiment.
        folder: Where that is.
    """
    name = f"at {location}"
    experiment = page.create("experiments", name=name, artifact_location=location)
    run = page.create("runs", experiment_id=experiment["experiment_id"])["run"]["info"]
    artifacts = folder / run["run_id"] / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "secret.txt").write_text("hunter2")
    query = urlencode({"run_id": run["run_id"], "run_uuid": run["run_id"], "path": "secret.txt"})
    listing = page.status(f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run['run_id']}")
    return listing, page.status(f"/get-artifact?{query}")


def test_artifacts_of_the_study_s_store_are_served(page: Page, sweep: Sweep) -> None:
    folder = sweep.paths.artifacts / "own"
    assert artifacts_at(page, folder.as_uri(), folder) == (200, 200)


@pytest.mark.parametrize("form", ["file://{}", "{}", "s3:/{}", "mlflow-artifacts:{}"])
def test_artifacts_from_outside_of_the_study_s_store_are_not_served(
    page: Page, tmp_path: Path, form: str
) -> None:
    assert artifacts_at(page, form.format(tmp_path), tmp_path) == (400, 400)


def test_no_link_leads_out_of_the_study_s_store(page: Page, sweep: Sweep, tmp_path: Path) -> None:
    link = sweep.paths.artifacts / "link"
    link.symlink_to(tmp_path)
    assert artifacts_at(page, link.as_uri(), tmp_path) == (400, 400)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(sweep: Sweep, number: signal.Signals) -> None:
    with served(sweep) as page:
        page.process.send_signal(number)
        assert page.process.wait(PATIENCE_S) == 0


def test_the_dashboard_stands_behind_a_guard_too(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    sweep.write_default(trials=2)
    copy_empty_database(sweep.paths.mlflow_db)
    create_study(load_study(sweep.file), sweep.paths).queue.top_up()
    before = sweep.paths.journal.read_bytes()
    with serving(sweep, "--dashboard") as (process, links):
        dashboard = Page(process, links["optuna-dashboard"])
        assert dashboard.address in listening_of(process.pid)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://{dashboard.host}/api/studies")
        study = json.loads(dashboard.get("/api/studies/0?after=0"))
        assert study["name"] == "sweep"
        assert {trial["state"] for trial in study["trials"]} == {"Waiting"}
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert sweep.paths.journal.read_bytes() == before
