"""Serves a model that sweeper trained: answers as a person reads them of rows as they have them.

MLflow runs a copy of this file in the model's folder, where there is no sweeper. Beside it lie

    data/model.pt2      all that is computed, as torch exported it
    data/strings.json   all that is spelt: columns, words, the names of what is answered
    read.py             what makes the program's input of rows

MLflow runs it too where a model is logged, and torch is not imported for that.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

if TYPE_CHECKING:
    from torch import Tensor

_FOLDER = Path(__file__).parent
#: Rows that are computed at once, so that memory is bounded.
_BATCH = 256
#: What makes an answer of the network's outputs [B, n_outputs], by the task.
_ANSWERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "classification": lambda outputs: outputs.softmax(1),
    "multilabel": lambda outputs: outputs.sigmoid(),
    "regression": lambda outputs: outputs,
}


class ServedModel(PythonModel):
    """Chances of classes or labels, or numbers in the units of the targets."""

    def load_context(self, context: Any) -> None:
        """Read the files of the model."""
        text = (_FOLDER / "data" / "strings.json").read_text(encoding="utf-8")
        self._strings = json.loads(text)
        self._read = runpy.run_path(str(_FOLDER / "read.py"))["read_rows"]
        import mlflow.pytorch

        self._program = mlflow.pytorch.load_model(str(_FOLDER))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Of each row an answer, with a column for each class, label or target."""
        import torch

        rows = torch.from_numpy(self._read(model_input, self._strings))
        answer, names = _ANSWERS[self._strings["task"]], self._strings["outputs"]
        with torch.no_grad():
            answers = [
                answer(self._program(batch).double()) for batch in torch.split(rows, _BATCH)
            ]
        values = torch.cat(answers).numpy() if len(rows) else np.empty((0, len(names)))
        return pd.DataFrame(values, getattr(model_input, "index", None), names)


mlflow.models.set_model(ServedModel())
