"""A program and all that it starts: its output, its end, and that nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sweeper.errors import TrainingError, TrialInterrupted
from sweeper.training import program
from sweeper.training.program import End, Program
from sweeper.training.program_output import LONGEST_LINE, printed_before

#: Generous: a test that waits so long has failed.
PATIENCE_S = 60


def run(*words: str, notes: list[str] | None = None) -> tuple[list[str], End]:
    """The lines that a program prints, and its end."""
    note = (notes if notes is not None else []).append
    with TemporaryDirectory() as folder, Program(words, os.environ, Path(folder), note) as running:
        lines = [line for lines in running.output() for line in lines]
        return lines, running.end()


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-u", "-c", code]


def await_file(path: Path) -> str:
    deadline_s = time.monotonic() + PATIENCE_S
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline_s, path
        time.sleep(0.01)
    return path.read_text()


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def await_end(pids: Sequence[int]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline_s, pids
        time.sleep(0.01)


def test_lines_of_both_sides_are_read_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    lines, end = run("sh", "-c", "echo out; echo err >&2; printf 'no end'")
    assert sorted(lines) == ["err", "no end", "out"]
    assert end == End(0, "err", "\n".join(lines))
    assert capfd.readouterr() == ("out\nno end", "err\n")


def test_of_a_line_that_is_written_over_the_last_part_counts() -> None:
    lines, _ = run(*python(r"print('10%\r50%\rdone\r\n', end=''); print('a\r', end='')"))
    assert lines == ["done", "a"]


def test_what_is_no_text_is_read_as_far_as_it_is(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    code = r"import sys; sys.stdout.buffer.write(b'\xff\x00\xc3\nloss=1\n\xe2\x82'); "
    lines, _ = run(*python(code))
    assert lines == ["\ufffd\0\ufffd", "loss=1", "\ufffd"]
    assert capfdbinary.readouterr().out == b"\xff\x00\xc3\nloss=1\n\xe2\x82"


def test_a_line_that_is_too_long_is_not_read_and_that_is_said() -> None:
    notes: list[str] = []
    code = f"print('x' * {3 * LONGEST_LINE}); print('loss=1')"
    lines, _ = run(*python(code), notes=notes)
    assert lines == ["loss=1"]
    assert set(notes) == {
        "train.command: a line of output that is longer than 64 KiB is passed on, but not read "
        "for reports"
    }


def test_a_flood_of_output_is_read_to_its_end() -> None:
    lines, _ = run(*python("for i in range(200_000): print(i)"))
    assert lines == [str(i) for i in range(200_000)]


def test_standard_input_is_empty_and_signals_are_as_usual() -> None:
    code = "import signal, sys; print(repr(sys.stdin.read()), signal.getsignal(2).__name__)"
    assert run(*python(code))[0] == ["'' default_int_handler"]


@pytest.mark.parametrize(
    ("script", "said", "number"),
    [
        ("echo no; exit 3", "ended with exit code 3: no", None),
        ("exit 255", "ended with exit code 255", None),
        ("echo bad >&2; echo more; kill -9 $$", "was ended by SIGKILL: bad", signal.SIGKILL),
        ("echo out; kill -9 $$", "was ended by SIGKILL", signal.SIGKILL),
        ("sh -c 'kill -SEGV $$'; exit $?", "was ended by SIGSEGV", signal.SIGSEGV),
    ],
)
def test_how_it_ended_is_said(script: str, said: str, number: int | None) -> None:
    _, end = run("sh", "-c", script)
    assert str(end).startswith(said)
    assert ": out" not in str(end)
    assert end.signal == number


def test_the_last_lines_are_kept() -> None:
    _, end = run(*python("for i in range(99): print(f'line {i}' + ' ' * 999)"))
    assert [line.strip() for line in end.tail.splitlines()] == [f"line {i}" for i in range(80, 99)]


def test_what_cannot_be_started_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain").write_text("print(1)\n")
    Path("lost").write_text("#!/no/such/interpreter\n")
    Path("lost").chmod(0o755)
    Path("empty").touch(0o755)
    for words, said in [
        (["no-such-program"], "there is no program 'no-such-program' in $PATH; is its"),
        (["plain"], "there is no program 'plain' in $PATH; `./plain` is the one here"),
        (["A=1", "python"], "there is no program 'A=1' in $PATH; `env A=1 ...` sets a variable"),
        (["./absent"], f"there is no file ./absent, from {tmp_path}"),
        (["./plain"], "./plain cannot be executed (Permission denied); name its interpreter"),
        (["./lost"], "./lost names an interpreter in its first line that is not there"),
        (["./empty"], "./empty cannot be executed (Exec format error); name its interpreter"),
        ([str(tmp_path)], f"{tmp_path} cannot be executed (Permission denied)"),
    ]:
        with pytest.raises(TrainingError) as caught:
            run(*words)
        assert str(caught.value).startswith(f"train.command: {said}")


def test_it_is_asked_to_end_with_its_group_and_may_save(tmp_path: Path) -> None:
    code = f"trap 'echo saved; exit 0' TERM; sleep 600 & echo $! > {tmp_path}/pid; echo up; wait"
    with Program(["sh", "-c", code], os.environ, tmp_path / "printed", print) as running:
        lines: list[str] = []
        for new in running.output():
            lines += new
            if "up" in lines:
                running.ask_to_end()
    assert lines == ["up", "saved"]
    assert running.end().code == 0
    assert not is_alive(int(await_file(tmp_path / "pid")))


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for new_session in False, True:
    if not os.fork():
        if new_session:
            os.setsid()
            if os.fork():
                os._exit(0)
        break
with open(f"{sys.argv[1]}/{os.getpid()}", "w") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def begun(folder: Path) -> list[int]:
    """Process ids of the three processes of ``STUBBORN``, one of which has left its session."""
    deadline_s = time.monotonic() + PATIENCE_S
    while len(found := list(folder.iterdir())) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return [int(path.name) for path in found]


def test_what_does_not_end_is_killed_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "GRACE_S", 0.2)
    folder = tmp_path / "pids"
    folder.mkdir()
    with Program([*python(STUBBORN), str(folder)], os.environ, tmp_path / "printed", print):
        pids = begun(folder)
    assert not any(map(is_alive, pids))


def test_what_outlives_the_program_is_ended_and_nobody_waits_for_its_output(
    tmp_path: Path,
) -> None:
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' & echo done"
    lines, end = run("sh", "-c", f"{script}; until [ -s {tmp_path}/pid ]; do :; done")
    assert (lines, end.code) == (["done"], 0)
    assert not is_alive(int(await_file(tmp_path / "pid")))


WORKER = """
import os, sys
from pathlib import Path
from sweeper.training.program import Program
with Program(sys.argv[2:], os.environ, Path(sys.argv[1]), print) as running:
    for _ in running.output():
        pass
"""


def test_nothing_is_left_of_a_worker_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    words = [*python(STUBBORN), str(folder)]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, f"{tmp_path}/printed", *words],
        start_new_session=True,
    )
    pids = begun(folder)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    await_end(pids)


def test_nothing_is_left_of_a_program_whose_supervisor_is_killed(tmp_path: Path) -> None:
    code = f"echo $PPID > {tmp_path}/parent; sleep 600 & echo $! > {tmp_path}/child; wait"
    with Program(["sh", "-c", code], os.environ, tmp_path / "printed", print) as running:
        child = int(await_file(tmp_path / "child"))
        os.kill(int(await_file(tmp_path / "parent")), signal.SIGKILL)
        for _ in running.output():
            pass
        assert running.end().signal == signal.SIGKILL
        await_end([child])


def test_what_nobody_read_is_found_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "printed"
    script = "printf 'a\\n10%%\\rb\\nc'; echo d >&2"
    with (
        suppress(TrialInterrupted),
        Program(["sh", "-c", script], os.environ, folder, print) as running,
    ):
        for _ in running.output():
            pass
        raise TrialInterrupted("stopped")
    assert sorted(printed_before(folder)) == ["a", "b", "d"]
    with Program(["true"], os.environ, folder, print):
        pass
    assert list(printed_before(folder)) == []
    assert not folder.exists()
