import sys

import pytest

from sweeper.commands.proxy import serve_proxy
from sweeper.errors import SpecError, StudyError


def serve(url: str, port: int = 0) -> None:
    serve_proxy(url, host="127.0.0.1", port=port, show=pytest.fail)


def test_only_postgresql_is_served() -> None:
    with pytest.raises(SpecError, match=r"URL: must be postgresql\+psycopg://host/name; no other"):
        serve("sqlite:///sweep.db")
    with pytest.raises(SpecError, match="URL: the port of a URL is a number"):
        serve("postgresql://host:0/name")


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for end in ("client", "server"):
        monkeypatch.delitem(sys.modules, f"sweeper.study.storage.grpc_{end}", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(StudyError, match=r"the proxy needs `pip install 'sweeper\[grpc"):
        serve("postgresql://127.0.0.1:1/name")


def test_a_database_that_cannot_be_opened_is_told_without_its_password() -> None:
    with pytest.raises(StudyError, match=r"URL: cannot open the database .*refused") as caught:
        serve("postgresql+psycopg://ann:hunter2@127.0.0.1:1/name")
    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_a_port_that_is_taken_is_told(proxy_url: str, postgres_url: str) -> None:
    port = int(proxy_url.rpartition(":")[2])
    with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1:{port}; does a proxy run"):
        serve(postgres_url, port)
