"""Hostile files and passwords met by real commands: nothing crashes, hangs or tells."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.sweep import PATIENCE_S, Sweep, kill_group

SECRET = "hunter2"
#: Escaped as a URL wants it: p@s/hunter2:%
ODD = f"p%40s%2F{SECRET}%3A%25"

GOOD = "data: {name: digits}\nmodel: {architecture: mlp, width: 16}\ntrain: {epochs: 1}\n"
FUNCTION = """
objective: {{metric: score, direction: maximize}}
budget: {{trials: 2}}
pruner: {{name: none}}
train: {{function: "own:run", x: {{low: 0.0, high: 1.0}}}}
run: {{workers: 1}}
storage: {storage}
tracking: {{uri: {uri}}}
"""
#: Fails once with the URL in its message, and looks at what every user of the machine can see.
CODE = """
import os
from pathlib import Path

def run(params, trial):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            with open("cmdlines", "ab") as file:
                file.write(path.read_bytes())
        except OSError:
            pass
    if trial.number == 0:
        raise ConnectionError("cannot reach " + os.environ["OWN_DATABASE"])
    trial.report(1, score=params["train"]["x"])
"""


def assert_untold(sweep: Sweep, *outputs: str) -> None:
    """The password stands in the study file alone."""
    for output in outputs:
        assert SECRET not in output
    told = [
        path
        for path in sweep.folder.rglob("*")
        if path.is_file() and path != sweep.file and SECRET.encode() in path.read_bytes()
    ]
    assert told == []


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


@pytest.mark.gate
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "sweep.yaml:1: a study file is a mapping"),
        ("data: größe".encode("utf-16"), "sweep.yaml:1: not UTF-8 text"),
        (b"a: &a [*a]\n", "sweep.yaml:1: nested too deep"),
        (GOOD.encode() + b"name: ../../x\n", "sweep.yaml:4: name: must be up to 100 letters"),
        (
            GOOD.encode() + f"storage: postgresql://ann:a@{SECRET}@host/db\n".encode(),
            "sweep.yaml:4: storage: is no URL of the form",
        ),
    ],
)
def test_a_bad_file_meets_a_message_with_its_line(
    sweep: Sweep, content: bytes, message: str
) -> None:
    sweep.file.write_bytes(content)
    done = sweep.run("check", "sweep.yaml")
    assert (done.returncode, done.stderr[: len(message)]) == (2, message)
    assert "Traceback" not in done.stderr
    assert_untold(sweep, said(done))
    assert [path.name for path in sweep.folder.iterdir()] == ["sweep.yaml"]


@pytest.mark.slow
def test_no_command_tells_the_password_of_a_storage_out_of_reach(sweep: Sweep) -> None:
    url = f"postgresql://ann:{ODD}@127.0.0.1:9/db?sslpassword={SECRET}"
    sweep.write(GOOD + f"storage: '{url}'\n")
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    checked = sweep.run("check", "sweep.yaml")
    assert checked.returncode == 0, checked.stderr
    for words in (("run", "sweep.yaml"), ("status", "sweep.yaml")):
        done = sweep.run(*words)
        assert done.returncode == 1
        assert "sweep.yaml:4: storage: cannot open the study's storage" in done.stderr
        assert_untold(sweep, said(checked), said(done))


@pytest.mark.slow
@pytest.mark.usefixtures("started_anew")  # forked, a worker shows another command line
@pytest.mark.parametrize("is_in_environment", [False, True])
def test_no_command_tells_the_password_of_a_tracking_server_out_of_reach(
    sweep: Sweep, is_in_environment: bool
) -> None:
    uri = f"http://ann:{ODD}@127.0.0.1:9/?token={SECRET}"
    environment = {
        "MLFLOW_TRACKING_URI": uri if is_in_environment else "",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "OWN_DATABASE": f"postgresql://ann:{ODD}@host/db?password={SECRET}",
    }
    sweep.write(FUNCTION.format(storage="auto", uri="auto" if is_in_environment else f"'{uri}'"))
    sweep.write_code(CODE)
    done = sweep.run(**environment)
    assert done.returncode == 0, done.stderr
    assert "Training goes on; the events wait in" in done.stderr
    status = sweep.run("status", "sweep.yaml", **environment)
    assert "ConnectionError: cannot reach postgresql://***@host/db?password=***" in status.stdout
    ui = sweep.run("ui", "sweep.yaml", **environment)
    assert ui.returncode == 1
    assert "http://***@127.0.0.1:9" in ui.stderr
    assert_untold(sweep, said(done), said(status), said(ui))


@contextmanager
def served(sweep: Sweep, port: int) -> Iterator[subprocess.Popen[str]]:
    """``sweeper ui``, from when it says that it serves."""
    process = subprocess.Popen(
        sweep.command("ui", "sweep.yaml", "--port", str(port)),
        cwd=sweep.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(f"MLflow UI: http://127.0.0.1:{port}")
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    finally:
        kill_group(process)


def listening_addresses(port: int) -> set[str]:
    """Local addresses, as Linux has them, on which somebody listens on that port."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line.split() for path in tables if path.exists() for line in path.open()]
    ends = [words[1].split(":") for words in lines if words[3] == "0A"]
    return {address for address, number in ends if int(number, 16) == port}


def all_command_lines() -> bytes:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes())
    return b"\n".join(lines)


@pytest.mark.slow
def test_the_page_is_served_to_this_machine_alone(sweep: Sweep, port: int) -> None:
    sweep.write(GOOD)
    with served(sweep, port):
        assert listening_addresses(port) == {"0100007F"}


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.usefixtures("started_anew")
def test_no_command_tells_the_password_of_a_database_that_it_uses(
    sweep: Sweep, port: int, postgres_url: str
) -> None:
    psycopg = pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE runs")
    # The server trusts everybody, so any password opens it.
    url = postgres_url.replace("postgres:@", f"postgres:{ODD}@")
    uri = url.replace("/postgres?", "/runs?")
    assert (url.count(SECRET), uri.count(SECRET)) == (1, 1)
    sweep.write(FUNCTION.format(storage=f"'{url}'", uri=f"'{uri}'"))
    sweep.write_code(CODE)
    done = sweep.run(OWN_DATABASE=url)
    assert done.returncode == 0, done.stderr
    assert "MLflow does not have everything yet" not in said(done)
    status = sweep.run("status", "sweep.yaml")
    assert "ConnectionError: cannot reach postgresql://***@" in status.stdout
    with served(sweep, port) as page:
        assert SECRET.encode() not in all_command_lines()
    assert page.stdout is not None
    assert_untold(sweep, said(done), said(status), page.stdout.read())
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("sweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 4  # the study, two trials and the one that failed
    assert SECRET not in str([run.to_dictionary() for run in runs])
