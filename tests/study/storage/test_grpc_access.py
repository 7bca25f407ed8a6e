"""Who gets into a proxy: real gRPC on this machine, on a database of SQLite."""

import asyncio
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sweeper.errors import StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.storage.grpc_access import (
    AUTHORITIES,
    TOKEN,
    Access,
    is_this_machine_alone,
    read_token,
)
from sweeper.study.storage.grpc_client import ProxiedStorage, ProxyLock, open_channel
from sweeper.study.storage.grpc_server import StorageServer
from tests.support.sweep_studies import spec_of

SECRET = "a-long-secret-word"


@contextmanager
def serving(folder: Path, access: Access) -> Iterator[str]:
    """Host and port of a proxy with that access."""
    server, loop = StorageServer(f"sqlite:///{folder}/sweep.db"), asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0, access), loop).result()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def own_certificate() -> tuple[bytes, bytes]:
    """A certificate of 127.0.0.1 that is signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "proxy")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem), private


@pytest.mark.parametrize("word", [None, "another-long-secret", f"{SECRET}x", SECRET[:-1]])
def test_without_the_token_nothing_can_be_read_or_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str | None
) -> None:
    with serving(tmp_path, Access(SECRET)) as place:
        monkeypatch.setenv(TOKEN, SECRET)
        study_id = ProxiedStorage(f"grpc://{place}").create_new_study([], "mine")
        assert study_id > 0
        if word is None:
            monkeypatch.delenv(TOKEN)
        else:
            monkeypatch.setenv(TOKEN, word)
        with pytest.raises(grpc.RpcError) as caught:
            ProxiedStorage(f"grpc://{place}")
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        lock = ProxyLock(open_channel(f"grpc://{place}"), "a lock")
        with pytest.raises(grpc.RpcError) as caught, lock.held():
            pass
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_command_without_the_token_is_told_what_to_set(tmp_path: Path) -> None:
    with serving(tmp_path, Access(SECRET)) as place:
        spec = spec_of(tmp_path, storage=f"grpc://{place}")
        told = (
            "storage: cannot open the study's storage .UNAUTHENTICATED: this proxy wants the "
            "token that it was started with: set SWEEPER_PROXY_TOKEN to it where agents and"
        )
        with pytest.raises(StudyError, match=told):
            create_study(spec, RunPaths(tmp_path / "mlruns", spec.name))


def test_with_tls_only_the_certificate_that_is_known_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = own_certificate()
    known = tmp_path / "proxy.pem"
    monkeypatch.setenv(TOKEN, SECRET)
    monkeypatch.setenv(AUTHORITIES, str(known))
    with serving(tmp_path, Access(SECRET, certificate, key)) as place:
        known.write_bytes(certificate)
        assert ProxiedStorage(f"grpcs://{place}").get_all_studies() == []
        known.write_bytes(own_certificate()[0])
        with pytest.raises(grpc.RpcError) as caught:
            ProxiedStorage(f"grpcs://{place}")
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.RpcError):
            ProxiedStorage(f"grpc://{place}")
    known.unlink()
    with pytest.raises(StudyError, match=f"SWEEPER_PROXY_CA: {known}: cannot be read: No such"):
        open_channel("grpcs://127.0.0.1:1")


@pytest.mark.parametrize("word", ["short", "sixteen letters and spaces", "sixteen-letters-\u00e4"])
def test_a_token_is_a_long_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv(TOKEN, word)
    with pytest.raises(StudyError, match="SWEEPER_PROXY_TOKEN: must be one word of 16") as caught:
        read_token()
    assert word not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_alone"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(host: str, is_alone: bool) -> None:
    assert is_this_machine_alone(host) == is_alone
