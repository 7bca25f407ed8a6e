"""What a user may rely on stays put: the Python surface, the commands, the start-up cost."""

import json
import subprocess
import sys

import pytest

import sweeper

HEAVY = ("torch", "torchvision", "mlflow", "optuna", "sklearn", "pandas", "numpy")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names() -> None:
    assert sweeper.__all__ == ["SweeperError", "TrialInterrupted", "TrialPruned", "load", "run"]
    assert all(hasattr(sweeper, name) for name in sweeper.__all__)


@pytest.mark.parametrize("module", ["sweeper", "sweeper.cli", "sweeper.config"])
def test_importing_the_front_loads_nothing_heavy(module: str) -> None:
    found = run_python(
        f"import json, sys, {module}; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    assert json.loads(found) == []


def test_an_agent_needs_neither_torch_nor_mlflow_to_begin() -> None:
    found = run_python(
        "import json, sys, sweeper.commands.run;"
        "print(json.dumps([m for m in ('torch', 'mlflow', 'sklearn') if m in sys.modules]))"
    )
    assert json.loads(found) == []


def test_a_worker_never_imports_mlflow() -> None:
    found = run_python("import sys, sweeper.workers.__main__; print('mlflow' in sys.modules)")
    assert found.strip() == "False"
