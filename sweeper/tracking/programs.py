"""An exported program as an MLflow model; the program itself is neither loaded nor run.

What ``mlflow.pytorch`` writes is written here, as it exports a network itself, and imports torch.
"""

import json
import shutil
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from sweeper.events import TensorForm
from sweeper.tracking.program_form import ProgramForm, RowForm

#: In the folder of an MLflow model.
MLMODEL, PROGRAM = Path("MLmodel"), Path("data", "model.pt2")
READER, STRINGS = Path("read.py"), Path("data", "strings.json")
TENSORS = Path("data", "tensors.json")
#: What MLflow runs to answer rows; and to answer with several tensors, or to take them.
SERVE, SERVE_TENSORS = (
    Path(__file__).with_name(f"{name}.py") for name in ("serve", "serve_tensors")
)
#: MLflow's module that loads a program, and its name for models of torch.
_LOADER, _FLAVOR = "mlflow.pytorch", "pytorch"
# MLflow would refuse whole numbers where it was told of fractions, and numbers as text.
_ANY = AnyType()  # type: ignore[no-untyped-call]
_COLUMNS: Mapping[str, Any] = {"any": _ANY, "binary": DataType.binary, "string": DataType.string}


@dataclass(frozen=True)
class _Serving:
    """What ``mlflow.pyfunc`` is told of a program.

    Attributes:
        signature: Of what it takes and answers.
        example: Of what it takes.
        packages: That it needs, with versions as pip writes them.
        code: The file that MLflow runs; None for its own, which takes one array and answers one.
        files: That the code reads, by their path in the model's folder.
    """

    signature: ModelSignature
    example: Any
    packages: Sequence[str]
    code: Path | None = None
    files: Mapping[Path, str] = field(default_factory=dict)


def save_program(form: ProgramForm, program: Path, folder: Path) -> Model:
    """Write an MLflow model around a program.

    ``mlflow.pyfunc`` takes rows and answers by names if the form has rows. Of a program that takes
    one tensor and answers one it takes an array and answers one; else arrays by name.

    Args:
        form: What the program is.
        program: The file.
        folder: Is made.

    Returns:
        The content of ``MLmodel``, of no run in particular.
    """
    serving = _serving(form)
    torch_model = {"model_data": PROGRAM.parent.name, "pytorch_version": _torch_version()}
    loader = {"python_model": str(serving.code)} if serving.code else {"loader_module": _LOADER}
    mlflow.pyfunc.save_model(
        str(folder),
        mlflow_model=Model(flavors={_FLAVOR: {**torch_model, "code": None}}),
        signature=serving.signature,
        input_example=serving.example,
        pip_requirements=list(serving.packages),
        **loader,
    )
    (folder / PROGRAM).parent.mkdir()
    shutil.copyfile(program, folder / PROGRAM)
    for path, content in serving.files.items():
        (folder / path).write_text(content, encoding="utf-8")
    description = Model.load(str(folder))
    own = description.flavors[mlflow.pyfunc.FLAVOR_NAME]
    if serving.code:
        # Where it lay on this machine is nobody's business; MLflow looks for the name alone.
        own["model_code_path"] = serving.code.name
    else:
        own.update(data=PROGRAM.parent.name, model_config={"device": None})
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    description.model_size_bytes = sum(sizes)
    description.save(str(folder / MLMODEL))
    return description


def prepare_programs() -> None:
    """Let MLflow look through all installed packages now, as it does for the first model."""
    nothing = TensorForm("", "float32", ())
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "program"
        program.touch()
        save_program(ProgramForm((nothing,), (nothing,), ()), program, Path(scratch) / "model")


@cache
def _torch_version() -> str:
    """As torch tells it, with what it was built for; its package's own does without."""
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return str(run_path(str(Path(spec.origin).with_name("version.py")))["__version__"])


def _serving(form: ProgramForm) -> _Serving:
    if form.rows:
        return _serve_rows(form, form.rows)
    signature = ModelSignature(_schema(form.inputs), _schema(form.outputs))
    if len(form.inputs) == 1 and not form.inputs[0].name and len(form.outputs) == 1:
        return _Serving(signature, _zeros(form.inputs[0]), form.packages)
    names = {
        "inputs": [tensor.name for tensor in form.inputs],
        "outputs": [tensor.name for tensor in form.outputs],
    }
    example = {tensor.name: _zeros(tensor) for tensor in form.inputs}
    files = {TENSORS: json.dumps(names)}
    return _Serving(signature, example, form.packages, SERVE_TENSORS, files)


def _serve_rows(form: ProgramForm, rows: RowForm) -> _Serving:
    """Let it take the columns that a row has, or an array of samples, and answer in columns."""
    if rows.column is None:
        [samples] = form.inputs
        inputs, example = _schema([samples]), _zeros(samples)[:1]
    else:
        inputs = Schema([ColSpec(_COLUMNS[rows.column], name) for name in rows.example])
        decode = b64decode if rows.column == "binary" else (lambda value: value)
        example = pd.DataFrame([{name: decode(value) for name, value in rows.example.items()}])
    answers = Schema([ColSpec("double", name) for name in rows.outputs])
    packages = [*form.packages, *rows.packages]
    files = {READER: rows.reader, STRINGS: rows.strings}
    return _Serving(ModelSignature(inputs, answers), example, packages, SERVE, files)


def _schema(forms: Sequence[TensorForm]) -> Schema:
    return Schema([TensorSpec(np.dtype(f.dtype), (-1, *f.shape), f.name or None) for f in forms])


def _zeros(form: TensorForm) -> np.ndarray:
    """Two samples, none of which is a row of the user's."""
    return np.zeros((2, *form.shape), form.dtype)
