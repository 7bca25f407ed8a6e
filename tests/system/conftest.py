import socket
from pathlib import Path

import pytest

from tests.support.forked_commands import ANEW, VARIABLE
from tests.support.sweep import Sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


@pytest.fixture
def started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are started as users do, where that makes a difference."""
    monkeypatch.setenv(VARIABLE, ANEW)


@pytest.fixture
def port() -> int:
    """One on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
