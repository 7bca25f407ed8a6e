import ast
import os
from pathlib import Path

import pytest

import sweeper
from sweeper.durable import CRASH_VARIABLE, Step, durable
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
    "log_artifact", "log_dict", "log_outputs", "log_model_artifacts", "create_logged_model",
    "finalize_logged_model", "delete_run",
    # the object store
    "pipe_file", "put_file",
    # files
    "write", "write_text", "write_bytes", "tofile", "replace", "rename", "fsync",
}  # fmt: skip
#: Writes that nothing is lost with: a cache that is made anew, a file that a person asked for,
#: words to a person or a process, a draft that is uploaded from a folder of its own.
EXEMPT = {
    "data/", "tracking/exported.py", "commands/init.py", "commands/ui.py", "commands/progress.py",
    "workers/forkserver.py", "workers/protocol.py", "study/storage/grpc_server.py",
}  # fmt: skip


def unguarded_writes(path: Path) -> list[str]:
    """``line: call`` of each write outside a ``with durable(...)`` block."""
    found: list[str] = []

    def visit(node: ast.AST, guarded: bool) -> None:
        if isinstance(node, ast.With):
            guarded = guarded or any("durable(" in ast.unparse(item) for item in node.items)
        if isinstance(node, ast.Call) and not guarded and is_write(node):
            found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)[:60]}")
        for child in ast.iter_child_nodes(node):
            visit(child, guarded)

    visit(ast.parse(path.read_text()), False)
    return found


def is_write(call: ast.Call) -> bool:
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
    assert [found for path in files for found in unguarded_writes(path)] == []


def test_every_step_is_used() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert [step for step in Step if f"durable(Step.{step.name})" not in text] == []


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
