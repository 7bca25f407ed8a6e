import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.commands.proxy import Doors, serve_proxy
from sweeper.errors import SpecError, StudyError

GONE = "postgresql+psycopg://127.0.0.1:1/name"


def serve(url: str, port: int = 0) -> None:
    serve_proxy(url, Doors("127.0.0.1", port), show=pytest.fail, note=lambda text: None)


def test_only_postgresql_is_served() -> None:
    with pytest.raises(SpecError, match=r"URL: must be postgresql\+psycopg://host/name; no other"):
        serve("sqlite:///sweep.db")
    with pytest.raises(SpecError, match="URL: the port of a URL is a number"):
        serve("postgresql://host:0/name")


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for end in ("access", "client", "server"):
        monkeypatch.delitem(sys.modules, f"sweeper.study.storage.grpc_{end}", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(StudyError, match=r"the proxy needs `pip install 'sweeper\[grpc"):
        serve("postgresql://127.0.0.1:1/name")


def test_a_database_that_cannot_be_opened_is_told_without_its_password() -> None:
    with pytest.raises(StudyError, match=r"URL: cannot open the database .*refused") as caught:
        serve("postgresql+psycopg://ann:hunter2@127.0.0.1:1/name")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1"])
def test_other_machines_need_a_token_or_a_user_who_wants_them_without(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    told: list[str] = []

    def serve_at(doors: Doors) -> None:
        with pytest.raises((SpecError, StudyError)) as caught:
            serve_proxy(GONE, doors, show=pytest.fail, note=told.append)
        told.append(str(caught.value))

    monkeypatch.delenv("SWEEPER_PROXY_TOKEN", raising=False)
    serve_at(Doors(host, 0))
    assert told.pop().startswith(
        f"--host {host}: without a token, whoever reaches the port can read, change and delete "
        "every study in the database; set SWEEPER_PROXY_TOKEN"
    )
    assert told == []
    serve_at(Doors(host, 0, is_insecure=True))
    assert told.pop().startswith("URL: cannot open the database")
    assert told.pop() == (
        "there is no SWEEPER_PROXY_TOKEN: whoever reaches the port can read, change and delete "
        "every study in the database"
    )
    monkeypatch.setenv("SWEEPER_PROXY_TOKEN", "a-long-secret-word")
    serve_at(Doors(host, 0))
    assert [line[:28] for line in told] == ["URL: cannot open the databas"]


def test_on_this_machine_a_proxy_without_a_token_says_who_gets_in() -> None:
    told: list[str] = []
    with pytest.raises(StudyError):
        serve_proxy(GONE, Doors("127.0.0.1", 0), show=pytest.fail, note=told.append)
    assert told == [
        "there is no SWEEPER_PROXY_TOKEN: every user of this machine can read, change and delete "
        "every study in the database"
    ]


def test_a_certificate_comes_with_its_key(tmp_path: Path) -> None:
    doors = Doors("127.0.0.1", 0, certificate=tmp_path / "proxy.pem")
    with pytest.raises(SpecError, match="--tls-cert and --tls-key belong together"):
        serve_proxy(GONE, doors, show=pytest.fail, note=lambda text: None)
    both = replace(doors, key=tmp_path / "key.pem")
    with pytest.raises(StudyError, match=r"--tls-cert: .*proxy.pem: cannot be read: No such file"):
        serve_proxy(GONE, both, show=pytest.fail, note=lambda text: None)


@pytest.mark.postgres
def test_a_port_that_is_taken_is_told(proxy_url: str, postgres_url: str) -> None:
    port = int(proxy_url.rpartition(":")[2])
    with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1:{port}; does a proxy run"):
        serve(postgres_url, port)
