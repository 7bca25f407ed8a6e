"""A program that a trial's own code exported, as an MLflow model."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from torch import nn

from sweeper.events import ModelLogged, TensorForm
from sweeper.tracking.exported import PROGRAM, save_description, serve_by_code
from sweeper.tracking.torch_flavor import torch_flavor

#: What MLflow runs to answer with several tensors, or to take them; and which those are.
SERVE_TENSORS = Path(__file__).with_name("serve_tensors.py")
TENSORS = Path("data", "tensors.json")


def save_program(logged: ModelLogged, program: Path, folder: Path) -> Model:
    """Write an MLflow model around a program, which is neither loaded nor run.

    Of a program that takes one tensor and answers one, ``mlflow.pyfunc`` takes an array and
    answers one; else it takes and answers arrays by name.

    Args:
        logged: What the program is.
        program: The file.
        folder: Is made.

    Returns:
        The content of ``MLmodel``, of no run in particular.
    """
    signature = ModelSignature(_schema(logged.inputs), _schema(logged.outputs))
    forms = logged.inputs
    # MLflow exports something that takes the same, as it must have a network to make a model of.
    torch_flavor.save_model(
        nn.Identity(),
        str(folder),
        signature=ModelSignature(_schema(forms[:1])),
        input_example=_zeros(forms[0]),
        pip_requirements=list(logged.packages),
        serialization_format="pt2",
    )
    if len(forms) == 1 and not forms[0].name and len(logged.outputs) == 1:
        description = Model.load(str(folder))
        description.signature = signature
    else:
        description = _serve_by_name(logged, signature, folder)
    shutil.copyfile(program, folder / PROGRAM)
    save_description(description, folder)
    return description


def _serve_by_name(logged: ModelLogged, signature: ModelSignature, folder: Path) -> Model:
    """Let ``mlflow.pyfunc`` take and answer arrays by name."""
    names = {
        "inputs": [form.name for form in logged.inputs],
        "outputs": [form.name for form in logged.outputs],
    }
    example = {form.name: _zeros(form) for form in logged.inputs}
    files = {TENSORS: json.dumps(names).encode()}
    return serve_by_code(folder, SERVE_TENSORS, signature, example, logged.packages, files)


def _schema(forms: Sequence[TensorForm]) -> Schema:
    return Schema([TensorSpec(np.dtype(f.dtype), (-1, *f.shape), f.name or None) for f in forms])


def _zeros(form: TensorForm) -> np.ndarray:
    """Two samples, none of which is a row of the user's."""
    return np.zeros((2, *form.shape), form.dtype)
