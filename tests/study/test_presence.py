import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sweeper.study.presence import Presence, is_present
from tests.support.forks import kill, started


def be_present(folder: Path, is_there: Event) -> None:
    Presence(folder, "worker")
    is_there.set()
    signal.pause()


def be_present_with_a_forked_child(folder: Path, is_there: Event) -> None:
    Presence(folder, "worker")
    if os.fork() == 0:
        (folder / "child").write_text(str(os.getpid()))
        is_there.set()
    signal.pause()


def test_a_process_is_present_until_it_leaves(tmp_path: Path) -> None:
    assert not is_present(tmp_path, "me")
    presence = Presence(tmp_path, "me")
    assert is_present(tmp_path, "me")
    presence.leave()
    assert not is_present(tmp_path, "me")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_cannot_share_a_name(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    with pytest.raises(RuntimeError, match=r"me is locked: two processes share one name"):
        Presence(tmp_path, "me")
    presence.leave()


def test_a_killed_process_is_absent_and_cleared_up_after(tmp_path: Path) -> None:
    process = started(be_present, tmp_path)
    assert is_present(tmp_path, "worker")
    kill(process)
    assert (tmp_path / "worker").exists()
    assert not is_present(tmp_path, "worker")
    assert not (tmp_path / "worker").exists()


def test_a_forked_child_does_not_keep_up_its_parents_presence(tmp_path: Path) -> None:
    process = started(be_present_with_a_forked_child, tmp_path)
    assert is_present(tmp_path, "worker")
    kill(process)
    assert not is_present(tmp_path, "worker")
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
