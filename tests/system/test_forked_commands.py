"""A command that was forked looks to its test as one that was started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked_commands import ANEW, VARIABLE, popen
from tests.support.sweep import Sweep

pytestmark = [
    pytest.mark.gate,  # each command once more, started anew
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone"),
]


@pytest.mark.parametrize("words", [("--version",), ("status", "gone.yaml"), ("no-command",)])
def test_it_says_the_same_and_ends_the_same(
    sweep: Sweep, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    forked = sweep.run(*words)
    monkeypatch.setenv(VARIABLE, ANEW)
    anew = sweep.run(*words)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        anew.returncode,
        anew.stdout,
        anew.stderr,
    )


def test_it_is_a_child_that_leads_its_session_and_stays_until_it_is_reaped(sweep: Sweep) -> None:
    command = popen(sweep.command("ui", "gone.yaml"), stderr=subprocess.DEVNULL)
    assert os.getsid(command.pid) == command.pid
    os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{command.pid}").exists()
    assert command.poll() == 2
    assert not Path(f"/proc/{command.pid}").exists()
