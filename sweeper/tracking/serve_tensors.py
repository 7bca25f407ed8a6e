"""Serves a model that a training function logged: arrays by name in, and out.

MLflow runs a copy of this file in the model's folder, where there is no sweeper. Beside it lie

    data/model.pt2       the network, as torch exported it
    data/tensors.json    names of what it takes and answers, in its order

MLflow runs it too where a model is logged, and torch is not imported for that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel

_FOLDER = Path(__file__).parent


class ServedTensors(PythonModel):
    """What the network answers, an array a tensor."""

    def load_context(self, context: Any) -> None:
        """Read the files of the model."""
        text = (_FOLDER / "data" / "tensors.json").read_text(encoding="utf-8")
        self._names = json.loads(text)
        import mlflow.pytorch

        self._program = mlflow.pytorch.load_model(str(_FOLDER))

    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray | dict[str, np.ndarray]:
        """Of arrays by name the answers by name, or the array of one that has no name.

        What is given is a dict of arrays; declared as one, MLflow would warn whoever loads it.
        """
        import torch

        arrays = (np.asarray(model_input[name]) for name in self._names["inputs"])
        with torch.no_grad():
            answers = self._program(*map(torch.from_numpy, arrays))
        if isinstance(answers, torch.Tensor):
            return answers.numpy()
        return {name: answers[name].numpy() for name in self._names["outputs"]}


mlflow.models.set_model(ServedTensors())
