import ast
import errno
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper.durable import CRASH_VARIABLE, Step, aside_of, durable, replace_file
from tests.support.disk_calls import note_disk_calls
from tests.support.small_disk import small_disk
from tests.support.sweep_studies import killed

PACKAGE = Path(sweeper.__file__).parent
#: Calls that leave something behind for a later process. By method name, as what they are called
#: on is not known without running.
WRITES = {
    # Optuna's storage
    "create_new_study", "create_new_trial", "set_study_user_attr", "set_study_system_attr",
    "set_trial_param", "set_trial_state_values", "set_trial_intermediate_value",
    "set_trial_user_attr", "set_trial_system_attr",
    # MLflow's client
    "create_experiment", "create_run", "update_run", "set_terminated", "log_batch", "log_inputs",
    "log_artifact", "log_text", "log_dict", "log_outputs", "log_model_artifacts",
    "create_logged_model", "finalize_logged_model", "delete_run",
    # the object store
    "pipe_file", "put_file",
    # files
    "write", "write_text", "write_bytes", "tofile", "replace", "rename", "fsync",
}  # fmt: skip
#: What stands inside a step itself, and writes that nothing is lost with: a cache that is made
#: anew, a file that a person asked for, words to a person or a process, a draft that is uploaded
#: from a folder of its own.
EXEMPT = {
    "durable.py", "data/", "tracking/exporter.py", "tracking/programs.py",
    "commands/init/write.py", "commands/ui.py", "commands/progress.py", "workers/forkserver.py",
    "workers/protocol.py", "study/storage/grpc_server.py", "training/program_output.py",
    "training/program.py", "training/supervisor.py",
}  # fmt: skip


def unguarded_writes(source: str) -> list[str]:
    """``line: call`` of each write outside a ``with durable(...)`` block."""
    found: list[str] = []

    def visit(node: ast.AST, guarded: bool) -> None:
        if isinstance(node, ast.Call) and not guarded and is_write(node):
            found.append(f"{node.lineno}: {ast.unparse(node)[:60]}")
        for child in ast.iter_child_nodes(node):
            visit(child, guarded)
            # Of a ``with`` the later items too, but not those before: they end after it.
            guarded = guarded or (isinstance(child, ast.withitem) and is_guard(child))

    visit(ast.parse(source), False)
    return found


def is_guard(item: ast.withitem) -> bool:
    return ast.unparse(item).startswith("durable(")


def is_write(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "replace_file"
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in WRITES:
        return False
    if ast.unparse(call.func.value) == "super()":
        return False  # the class is such a file, and its user is looked at
    # Of a text or a time: a path's replace takes one argument, by position; os.replace is named.
    is_text = call.func.attr == "replace" and len(call.args) != 1
    return not is_text or ast.unparse(call.func.value) == "os"


def test_every_durable_step_is_a_crash_point() -> None:
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if not path.relative_to(PACKAGE).as_posix().startswith(tuple(EXEMPT))
    ]
    found = {path: unguarded_writes(path.read_text()) for path in files}
    assert {path: writes for path, writes in found.items() if writes} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("with durable(Step.END):\n    path.write_text('')", []),
        ("with durable(Step.END), replace_file(path) as aside:\n    aside.write_text('')", []),
        ("with durable(Step.END):\n    pass\npath.write_text('')", ["3: path.write_text('')"]),
        ("with replace_file(path) as aside, durable(Step.END):\n    aside.write_bytes(b'')",
         ["1: replace_file(path)"]),
        ("os.replace(a, b)", ["1: os.replace(a, b)"]),
        ("text.replace('a', 'b')", []),
        ("super().write(data)", []),
    ],
)  # fmt: skip
def test_an_unguarded_write_is_found(source: str, found: list[str]) -> None:
    assert unguarded_writes(source) == found


def test_every_step_is_used() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    used = set(re.findall(r"\bStep\.(\w+)", text))
    assert [step for step in Step if step.name not in used] == []


def claim_step(mark: Path) -> None:
    with durable(Step.CLAIM):
        mark.write_text("done")


@pytest.mark.parametrize(("moment", "is_done"), [("before", False), ("after", True)])
def test_a_point_kills_once(
    moment: str, is_done: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed, mark = tmp_path / f"claim.{moment}", tmp_path / "mark"
    armed.touch()
    monkeypatch.setenv(CRASH_VARIABLE, str(tmp_path))
    killed(claim_step, mark)
    assert mark.exists() == is_done
    assert os.listdir(tmp_path) == ["mark"] * is_done
    claim_step(mark)
    assert mark.read_text() == "done"


def replace_it(path: Path, content: str) -> None:
    with replace_file(path) as aside:
        aside.write_text(content)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("old")
    return path


def test_a_file_is_replaced_at_once(old: Path) -> None:
    with replace_file(old) as aside:
        aside.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def die_half_way(path: Path) -> None:
    with replace_file(path) as aside:
        aside.write_text("half of the n")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_leaves_the_old_file_and_is_cleared_up_after(old: Path) -> None:
    killed(die_half_way, old)
    assert old.read_text() == "old"
    assert aside_of(old).read_text() == "half of the n"
    with replace_file(old) as aside:
        assert not aside.exists()
        aside.write_text("new")
    assert old.read_text() == "new"
    assert list(old.parent.iterdir()) == [old]


def interrupt_half_way(path: Path) -> None:
    with replace_file(path) as aside:
        aside.write_text("half of the n")
        raise KeyboardInterrupt


def test_what_fails_leaves_the_old_file_alone(old: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_half_way(old)
    assert old.read_text() == "old"
    assert list(old.parent.iterdir()) == [old]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "64k") as folder:
        yield folder


def test_a_full_disk_keeps_the_old_file_and_no_other(disk: Path) -> None:
    path = disk / "key"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        replace_it(path, "n" * 2**17)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(disk.iterdir()) == [path]
    replace_it(path, "n" * 2**15)  # there is room again
    assert path.stat().st_size == 2**15


@pytest.mark.parametrize("sync_folder", [False, True])
def test_the_new_bytes_reach_the_disk_before_the_name(
    old: Path, monkeypatch: pytest.MonkeyPatch, sync_folder: bool
) -> None:
    done = note_disk_calls(monkeypatch)
    with replace_file(old, sync_folder=sync_folder) as aside:
        aside.write_text("new")
    bytes_then_name = [("fsync", aside), ("rename", old)]
    assert done == bytes_then_name + [("fsync", old.parent)] * sync_folder
