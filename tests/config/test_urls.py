from pathlib import Path

import pytest

from sweeper.config.reader import parse_study
from tests.support.spec_files import BASE, assert_refused

_STORAGE = "must be auto, or a database URL such as postgresql://host/name"
_PROXY = "must name the host and port of `sweeper proxy`: grpc://host:13000, or grpcs:// with TLS"
_TRACKING = (
    "must be auto, http://host:port, or a database such as postgresql://host/name or "
    "sqlite:///mlflow.db"
)
_SQLITE = "must name its file: sqlite:///sweep.db, or sqlite:////folder/sweep.db"
_ESCAPES = "write user and password with %40 for @, %2F for /, %3A for :, %20 for a space"
_DATABASE = f"is no URL of the form postgresql://host:5432/name; {_ESCAPES}"
_SERVER = f"is no URL of the form http://host:5000; {_ESCAPES}"
_PORT = "the port of a URL is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("key", "url", "expected"),
    [
        ("storage", "ann:secret@host", _STORAGE),
        ("storage", "", _STORAGE),
        ("storage", "mysql://ann:secret@host/db", _STORAGE),
        ("storage", "postgresql+asyncpg://ann:secret@host/db", _STORAGE),
        ("storage", "http://ann:secret@host", _STORAGE),
        ("storage", "grpc://host", _PROXY),
        ("storage", "grpc://host:0", _PROXY),
        ("storage", "grpc://host:13000/name", _PROXY),
        ("storage", "grpc://ann:secret@host:13000", _PROXY),
        ("storage", "sqlite://", _SQLITE),
        ("storage", "sqlite:///", _SQLITE),
        ("storage", "sqlite:///:memory:", _SQLITE),
        ("storage", "sqlite://sweep.db", _SQLITE),
        ("storage", "postgresql://ann:sec@ret@host/db", _DATABASE),
        ("storage", "postgresql://ann:sec ret@host/db", _DATABASE),
        ("storage", "postgresql://ann:secret@host:port/db", _DATABASE),
        ("storage", "postgresql://ann:secret@host:0/db", _PORT),
        ("storage", "postgresql://host:70000/db", _PORT),
        ("tracking.uri", "", _TRACKING),
        ("tracking.uri", "localhost:5000", _TRACKING),
        ("tracking.uri", "./mlruns", _TRACKING),
        ("tracking.uri", "file:///mlruns", _TRACKING),
        ("tracking.uri", "ftp://ann:secret@host", _TRACKING),
        ("tracking.uri", "grpc://host:13000", _TRACKING),
        ("tracking.uri", "sqlite://", _SQLITE),
        ("tracking.uri", "mysql://ann:sec@ret@host/db", _DATABASE),
        ("tracking.uri", "http://", _SERVER),
        ("tracking.uri", "http://[::1", _SERVER),
        ("tracking.uri", "http://ann:sec/ret@host", _SERVER),
        ("tracking.uri", "http://ann:12/ret@host", _SERVER),
        ("tracking.uri", "http://ann:secret@ho st", _SERVER),
        ("tracking.uri", "http://host:99999", _SERVER),
    ],
)
def test_a_url_of_the_wrong_form_is_refused_and_not_shown(
    key: str, url: str, expected: str
) -> None:
    text = f"storage: '{url}'" if key == "storage" else f"tracking: {{uri: '{url}'}}"
    assert_refused(BASE + text, f"3: {key}: {expected}")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///sweep.db",
        "sqlite:////var/lib/sweep.db?timeout=60",
        "postgresql:///sweeps",
        "postgresql://host",
        "postgresql://ann:p%40ss%2Fw'ord@host:5432/sweeps?sslmode=require",
        "postgresql+psycopg://ann@[2001:db8::1]:5432/sweeps",
        "postgresql://ann:@/sweeps?host=/run/postgresql",
    ],
)
def test_urls_of_the_right_form(url: str) -> None:
    for key in (f'storage: "{url}"', f'tracking: {{uri: "{url}"}}'):
        spec = parse_study(f"{BASE}{key}", Path("s.yaml"))
        assert url in (spec.storage, spec.tracking.uri)


@pytest.mark.parametrize("url", ["grpc://db.example:13000", "grpcs://db:1", "grpc://[::1]:1"])
def test_a_proxy_is_named_with_its_port(url: str) -> None:
    spec = parse_study(f'{BASE}storage: "{url}"', Path("s.yaml"))
    assert (spec.storage, spec.is_proxied) == (url, True)


def test_mlflow_and_optuna_do_not_share_a_database() -> None:
    assert_refused(
        BASE + "storage: postgresql+psycopg://ann:x@host/db\n"
        "tracking: {uri: 'postgresql://bob@host/db'}",
        "4: tracking.uri: is the database of storage as well, where MLflow and Optuna would each "
        "take the other's tables for its own of another version; give it a database of its own",
    )


@pytest.mark.parametrize(
    "uri",
    ["https://ann:p%40ss@mlflow.example:5000/team", "http://[::1]:5000", "mysql+pymysql://h/db"],
)
def test_uris_that_only_mlflow_takes(uri: str) -> None:
    spec = parse_study(f'{BASE}tracking: {{uri: "{uri}"}}', Path("s.yaml"))
    assert spec.tracking.uri == uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run: {object_store: /shared}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 'file://shared'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://bucket?secret=x'}",
         "3: run.object_store: must be the URL of a place that all nodes reach: "
         "s3://bucket/prefix, or file:///folder"),
        ("run: {object_store: 's3://ann:x@bucket/a'}",
         "3: run.object_store: must hold no user and no password; the environment gives "
         "the driver its credentials"),
        ("run: {object_store: 'memory://a'}",
         "3: run.object_store: memory:// is the memory of one process, which no other "
         "node reaches"),
    ],
)  # fmt: skip
def test_an_object_store_of_the_wrong_form_is_refused(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)
