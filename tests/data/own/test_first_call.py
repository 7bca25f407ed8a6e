"""Real processes that load the same data at one moment."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.data.own.first_call import call_in_turn
from sweeper.errors import DataError
from tests.support.forks import FORKS


def download(folder: Path) -> str:
    """As most such code: straight into the final file, unless that is there."""
    file = folder / "data"
    if not file.exists():
        with file.open("w") as opened:
            opened.write("half of")
            opened.flush()
            time.sleep(0.5)
            opened.write(" the rows")
    return file.read_text()


def load(folder: Path, everybody: Any) -> None:
    everybody.wait()
    text = call_in_turn(lambda: download(folder), reference="own:load", params={}, folder=folder)
    (folder / f"{os.getpid()}.seen").write_text(text)
    everybody.wait()  # all use their data at the same time


def seen(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("*.seen")]


def test_the_first_call_is_made_by_one_process_and_the_others_wait(tmp_path: Path) -> None:
    everybody = FORKS.Barrier(4)
    processes = [FORKS.Process(target=load, args=(tmp_path, everybody)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert seen(tmp_path) == ["half of the rows"] * 4


def die_loading(folder: Path) -> None:
    def die() -> None:
        os._exit(1)

    call_in_turn(die, reference="own:load", params={}, folder=folder)


def test_a_process_that_dies_in_its_call_keeps_nobody_waiting(tmp_path: Path) -> None:
    dying = FORKS.Process(target=die_loading, args=(tmp_path,))
    dying.start()
    dying.join()
    assert call_in_turn(lambda: 7, reference="own:load", params={}, folder=tmp_path) == 7


def failing(times: int) -> tuple[list[int], Callable[[], str]]:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) <= times:
            raise DataError("own:load raised TimeoutError")
        return "rows"

    return calls, call


def test_a_first_call_that_fails_is_made_once_more_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls, call = failing(1)
    assert call_in_turn(call, reference="a:b", params={}, folder=tmp_path) == "rows"
    assert len(calls) == 2
    assert caplog.messages == ["own:load raised TimeoutError; it is called once more"]


def test_a_call_that_fails_again_is_an_error_and_the_next_one_is_the_first(
    tmp_path: Path,
) -> None:
    calls, call = failing(3)
    for n_calls in (2, 4):
        try:
            call_in_turn(call, reference="a:b", params={}, folder=tmp_path)
        except DataError:
            assert n_calls == 2
        assert len(calls) == n_calls


def leave_a_child(folder: Path) -> None:
    def load_with_help() -> None:
        if not (child := os.fork()):
            time.sleep(600)
        (folder / "child").write_text(str(child))

    call_in_turn(load_with_help, reference="own:load", params={}, folder=folder)


def test_processes_that_the_call_leaves_behind_keep_nobody_waiting(tmp_path: Path) -> None:
    first = FORKS.Process(target=leave_a_child, args=(tmp_path,))
    first.start()
    first.join()
    try:
        assert call_in_turn(lambda: 7, reference="own:load", params={}, folder=tmp_path) == 7
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
