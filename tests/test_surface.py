"""What a user may rely on stays put: the Python surface, the commands, the start-up cost."""

import json
import subprocess
import sys

import pytest

import sweeper

HEAVY = (
    "lightning",
    "pytorch_lightning",
    "transformers",
    "torch",
    "torchvision",
    "mlflow",
    "optuna",
    "sklearn",
    "pandas",
    "numpy",
)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names() -> None:
    assert sweeper.__all__ == [
        "Study", "SweeperError", "TrialInterrupted", "TrialPruned", "load", "run",
    ]  # fmt: skip
    assert all(hasattr(sweeper, name) for name in sweeper.__all__)


@pytest.mark.parametrize(
    "module", ["sweeper", "sweeper.cli", "sweeper.config", "sweeper.integrations"]
)
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


def test_looking_at_a_study_loads_nothing_to_draw_with() -> None:
    found = run_python("import sys, sweeper.commands.status; print('scipy.stats' in sys.modules)")
    assert found.strip() == "False"


def test_our_own_sampler_needs_no_torch() -> None:
    found = run_python(
        """
import sys
from pathlib import Path
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial
from sweeper.config.reader import parse_study
from sweeper.study.samplers.conditional_gp import ConditionalGP
from sweeper.study.samplers.proposal import Request

text = "data: {name: digits}\\nmodel: {architecture: mlp}\\ntrain: {l2: {low: 0.0, high: 1.0}}"
space = {"train.l2": FloatDistribution(0, 1)}
trials = [
    create_trial(value=l2 % 0.3, params={"train.l2": l2}, distributions=space)
    for l2 in (0.05 * i for i in range(20))
]
for number, trial in enumerate(trials):
    trial.number = number
sampler = ConditionalGP(parse_study(text, Path("small.yaml")))
[found] = sampler.ask(trials, [Request(20)], lambda _: False)
print(found.drawn_by, "torch" in sys.modules)
"""
    )
    assert found.split() == ["model", "False"]


def test_a_worker_never_imports_mlflow() -> None:
    found = run_python("import sys, sweeper.workers.__main__; print('mlflow' in sys.modules)")
    assert found.strip() == "False"
