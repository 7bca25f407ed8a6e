"""How a worker died, as its agent tells it."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from sweeper.workers.devices import Placement
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.process import WorkerProcess
from sweeper.workers.protocol import AgentArgs, WorkerArgs
from tests.support.control_groups import limit_memory, real_group, run_in

#: A worker that is a mere ``sleep``, told apart from a process beside it that takes too much.
CODE = """
import os, signal, subprocess, sys
from dataclasses import fields
from pathlib import Path
from sweeper.workers.devices import Placement
from sweeper.workers.protocol import AgentArgs, WorkerArgs
from sweeper.workers.process import WorkerProcess


class Sleepers:
    def start(self, *, stdin, output, n_threads):
        self.process = subprocess.Popen(["sleep", "100"], stdin=stdin, stdout=output)
        return self.process


told = AgentArgs(**{field.name: "w" for field in fields(AgentArgs)})  # which nobody reads
args = WorkerArgs.new(told, Placement("cpu", 1, 1), name="w")
server = Sleepers()
worker = WorkerProcess(args, Path(sys.argv[1]), server)
assert worker.is_alive
if "too much" in sys.argv:
    if not (child := os.fork()):
        bytearray(b"x") * 2**30
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert worker.is_alive
server.process.kill()
death = worker.cause_of_death()
print(death.kind, death.cause, sep=": ")
"""


class Crashing:
    """Starts a file of Python as a worker is started."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, *, stdin: int, output: int, n_threads: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, str(self._path)], stdin=stdin, stdout=output, stderr=output
        )


def test_of_a_crash_the_innermost_calls_are_its_last_words(tmp_path: Path) -> None:
    code = (
        "import ctypes\n"
        "from sweeper.workers.signals import write_stack_when_asked\n"
        "write_stack_when_asked()\n"
        "def deep(n):\n"
        "    return deep(n - 1) if n else ctypes.string_at(0)\n"
        "print('before', flush=True)\n"
        "deep(40)\n"
    )
    (tmp_path / "code.py").write_text(code)
    told: dict[str, Any] = {field.name: "w" for field in fields(AgentArgs)}  # which nobody reads
    args = WorkerArgs.new(AgentArgs(**told), Placement("cpu", 1, 1), name="w")
    server = cast(ForkServer, Crashing(tmp_path / "code.py"))
    death = WorkerProcess(args, tmp_path / "log", server).cause_of_death()
    assert death.cause == "its worker died: killed by SIGSEGV"
    words = death.details.splitlines()
    assert words[0] == "Fatal Python error: Segmentation fault"
    assert words[4] == f'  File "{tmp_path / "code.py"}", line 5 in deep'
    assert len(words) == 12


def death(tmp_path: Path, *words: str) -> str:
    with real_group("memory", f"sweeper-test-{os.getpid()}") as group:
        limit_memory(group, 2**29)
        return run_in(group, CODE, str(tmp_path / "log"), *words)


def test_a_kill_while_memory_lasts_is_a_lost_worker(tmp_path: Path) -> None:
    assert death(tmp_path) == "lost_worker: its worker died: killed by SIGKILL\n"


def test_the_kernel_counts_a_kill_before_it_has_cleared_the_process_away(tmp_path: Path) -> None:
    # The worker stands for one so big that it still shows when the kernel has counted its kill.
    assert death(tmp_path, "too much") == (
        "out_of_memory: its worker was killed by the kernel, as memory ran out (this job may take "
        "512 MiB)\n"
    )
