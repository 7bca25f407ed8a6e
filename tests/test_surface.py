"""What a user may rely on stays put: the Python surface, the commands, the start-up cost."""

import json
import subprocess
import sys
from pathlib import Path

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
#: Of processes that take a second or more for it.
IMPORTS_ANEW = pytest.mark.gate


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


@IMPORTS_ANEW
def test_an_agent_needs_neither_torch_nor_mlflow_to_begin() -> None:
    found = run_python(
        "import json, sys, sweeper.commands.work;"
        "from sweeper.data.built_in.decode import decode_digits; decode_digits();"
        "print(json.dumps([m for m in ('torch', 'mlflow', 'sklearn') if m in sys.modules]))"
    )
    assert json.loads(found) == []


@IMPORTS_ANEW
def test_an_agent_that_logs_models_never_imports_torch(tmp_path: Path) -> None:
    found = run_python(
        f"""
import json, sys
from pathlib import Path
from sweeper.commands.run import run_study
from sweeper.config.reader import parse_study
from sweeper.tracking.completion import find_completion

text = '''
budget: {{trials: 2}}
data: {{name: digits}}
model: {{architecture: mlp, depth: 1, width: 8}}
train: {{epochs: 1, learning_rate: {{low: 0.01, high: 0.1}}}}
run: {{device: cpu}}
'''
result = run_study(parse_study(text, Path("small.yaml")), root=Path({str(tmp_path)!r}))
models = find_completion(result._study).models
print(json.dumps([len(models), "torch" in sys.modules, "mlflow" in sys.modules]))
"""
    )
    assert json.loads(found.splitlines()[-1]) == [1, False, True]


@IMPORTS_ANEW
def test_what_forks_workers_begins_before_the_agent_imports_what_it_needs() -> None:
    found = run_python(
        """
import sys
from pathlib import Path
from sweeper.commands.run import run_study
from sweeper.config.reader import parse_study
from sweeper.workers.forkserver import ForkServer

def begin(server):
    print(sorted({"optuna", "numpy", "rich", "sqlalchemy"} & sys.modules.keys()))
    sys.exit()

ForkServer.begin = begin
text = "data: {name: digits}\\nmodel: {architecture: mlp}\\ntrain: {l2: {low: 0.0, high: 1.0}}"
run_study(parse_study(text, Path("small.yaml")), root=Path("none"))
"""
    )
    assert found.strip() == "[]"


@IMPORTS_ANEW
@pytest.mark.parametrize("sampler", ["auto", "random"])
def test_what_a_sampler_imports_to_draw_is_known_before(sampler: str) -> None:
    found = run_python(
        f"""
import sys
from importlib import import_module
from pathlib import Path
from sweeper.config.reader import parse_study
from sweeper.study.samplers.auto import choose_sampler, drawing_modules
from sweeper.study.samplers.draw import open_sampler
from sweeper.study.samplers.proposal import Request
import optuna

text = "sampler: {{name: {sampler}}}\\ndata: {{name: digits}}\\nmodel: {{architecture: mlp}}\\n"
spec = parse_study(text + "train: {{l2: {{low: 0.0, high: 1.0}}}}", Path("small.yaml"))
for name in drawing_modules(spec):
    import_module(name)
before = set(sys.modules)
storage = optuna.storages.InMemoryStorage()
study = optuna.create_study(storage=storage, study_name="small")
storage.create_new_trial(study._study_id)
sampler = open_sampler(
    choose_sampler(spec)[0], spec,
    storage=storage, study_id=study._study_id, pruner=optuna.pruners.NopPruner,
)
sampler.ask([], [Request(0)], lambda _: False)
late = sys.modules.keys() - before
print(sorted({{"scipy.optimize", "scipy.stats", "sweeper.study.samplers.conditional_gp"}} & late))
"""
    )
    assert found.strip() == "[]"


@IMPORTS_ANEW
def test_looking_at_a_study_loads_nothing_to_draw_with() -> None:
    found = run_python("import sys, sweeper.commands.status; print('scipy.stats' in sys.modules)")
    assert found.strip() == "False"


@IMPORTS_ANEW
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


@IMPORTS_ANEW
def test_what_finding_files_imports_is_known_before(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("file,digit\na.wav,1\nb.wav,2\n")
    (tmp_path / "a.wav").touch()
    (tmp_path / "b.wav").touch()
    found = run_python(
        f"""
import sys
from importlib import import_module
from pathlib import Path
from sweeper.config.reader import parse_study
from sweeper.config.space import first_value, suggest_config
from sweeper.data.kinds import KINDS
from sweeper.data.labelled.location import reading_modules

data = "data: {{name: audio, path: {tmp_path}/%s, sample_rate: 8000, max_seconds: 1.0}}\\n"
model = "model: {{architecture: cnn}}\\n"
print(reading_modules(parse_study(data % "clips" + model, Path("small.yaml"))))
spec = parse_study(data % "clips.csv" + model, Path("small.yaml"))
for name in reading_modules(spec):
    import_module(name)
before = {{name.partition(".")[0] for name in sys.modules}}
KINDS["audio"].identity(suggest_config(spec, first_value, seed=0).data)
print({{name.partition(".")[0] for name in sys.modules}} - before)
"""
    )
    assert found == "()\nset()\n"


@IMPORTS_ANEW
def test_a_worker_never_imports_mlflow() -> None:
    found = run_python("import sys, sweeper.workers.__main__; print('mlflow' in sys.modules)")
    assert found.strip() == "False"


@pytest.mark.slow  # it imports MLflow, torch and Lightning
def test_models_are_loaded_without_importing_lightning_which_who_asks_for_it_gets() -> None:
    found = run_python(
        """
import sys
import sweeper.tracking.load
import mlflow.pytorch
print("pytorch_lightning" in sys.modules, "_find_callback" in repr(mlflow.pytorch.__getattr__))
from mlflow.pytorch import MlflowModelCheckpointCallback
print(MlflowModelCheckpointCallback.__name__, hasattr(mlflow.pytorch, "Callback"))
"""
    )
    assert found.split() == ["False", "True", "MlflowModelCheckpointCallback", "False"]
