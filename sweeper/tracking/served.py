"""What a logged model needs to take rows as a person has them, and to answer by names."""

import inspect
import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn

from sweeper.data.preprocessing import Preprocessing
from sweeper.tracking.served_kinds import KINDS
from sweeper.trial import DataInfo

#: In the folder of an MLflow model, beside what MLflow writes there.
READER, STRINGS = Path("read.py"), Path("data", "strings.json")
#: What MLflow runs to serve a model.
SERVE = Path(__file__).with_name("serve.py")


class Served:
    """What is fitted and spelt of the data of a trial, as its logged model needs it.

    Args:
        preprocessing: Of the data.
        data: Of the trial.

    Raises:
        ValueError: If the data are of none of the ``KINDS``.
    """

    def __init__(self, preprocessing: Preprocessing, data: DataInfo) -> None:
        if preprocessing.kind not in KINDS:
            raise ValueError(f"is of data of the kind {preprocessing.kind!r}, which is not known")
        self._kind = KINDS[preprocessing.kind]
        self._preprocessing = preprocessing
        self._data = data
        self.strings = json.dumps({**preprocessing.strings, "task": data.task})

    @property
    def packages(self) -> Sequence[str]:
        """That reading imports, beside torch and what serves."""
        return self._kind.packages

    def module(self) -> nn.Module:
        """What makes a network's inputs of samples as the reader gives them."""
        return self._kind.build(self._preprocessing.tensors)

    def probe(self) -> Tensor:
        """Three samples as the reader gives them."""
        return self._kind.probe(self._preprocessing.tensors, self._data)

    def signature(self) -> ModelSignature:
        """The columns that a row has, or the form of an array; and the columns of an answer."""
        strings, column = self._preprocessing.strings, self._kind.column
        sample = TensorSpec(np.dtype("float32"), (-1, *self._data.input_shape))
        columns = [ColSpec(column, name) for name in strings.get("example", ())]
        inputs: Sequence[ColSpec | TensorSpec] = columns or [sample]
        return ModelSignature(
            Schema(list(inputs)),
            Schema([ColSpec("double", name) for name in strings["outputs"]]),
        )

    def example(self) -> "pd.DataFrame | NDArray[np.float32]":
        """A row, or an array of one sample."""
        if self._kind.column is None:
            return np.zeros((1, *self._data.input_shape), np.float32)
        row = self._preprocessing.strings["example"]
        if self._kind.column == DataType.binary:
            row = {name: b64decode(text) for name, text in row.items()}
        return pd.DataFrame([row])

    def files(self) -> Mapping[Path, bytes]:
        """What lies beside the program, by its path in the model's folder."""
        return {
            READER: inspect.getsource(self._kind.reader).encode(),
            STRINGS: self.strings.encode(),
        }

    def form(self) -> str:
        """Equal for all whose files are equal, and whose modules are but for their numbers."""
        tensors = self._preprocessing.tensors.items()
        shapes = sorted((name, tuple(tensor.shape)) for name, tensor in tensors)
        return repr((self._preprocessing.kind, shapes, self.strings))
