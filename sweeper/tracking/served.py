"""What a logged model needs to take rows as a person has them, by the kind of the data."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType
from torch import Tensor, nn

from sweeper.data import table_cells
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.table_inputs import TableInputs
from sweeper.trial import DataInfo

#: In the folder of an MLflow model, beside what MLflow writes there.
READER, STRINGS = Path("read.py"), Path("data", "strings.json")
#: What MLflow runs to serve a model.
SERVE = Path(__file__).with_name("serve.py")


@dataclass(frozen=True)
class ServedKind:
    """How data of a kind come from rows to a network.

    Attributes:
        reader: Its source lies beside a model: ``read_rows(rows, strings)`` makes of them what the
            module takes.
        build: The module, by the tensors that were fitted.
        probe: Some samples to try the module with.
        column: Of a row, in the signature.
        packages: That the reader imports, beside what torch brings.
    """

    reader: ModuleType
    build: Callable[[Mapping[str, Tensor]], nn.Module]
    probe: Callable[[Mapping[str, Tensor], DataInfo], Tensor]
    column: Any
    packages: Sequence[str]


def _probe_table(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:
    assert data.features is not None
    return TableInputs(fitted).probe(data.features.categories)


_ANY = AnyType()  # type: ignore[no-untyped-call]
KINDS: Mapping[str, ServedKind] = {
    # MLflow would refuse whole numbers where it was told of fractions, and numbers as text.
    "table": ServedKind(table_cells, TableInputs, _probe_table, _ANY, ("pandas", "pyarrow")),
}


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
        """That the served model imports beside torch and MLflow."""
        return self._kind.packages

    def module(self) -> nn.Module:
        """What makes a network's inputs of samples as the reader gives them."""
        return self._kind.build(self._preprocessing.tensors)

    def probe(self) -> Tensor:
        """Three samples as the reader gives them."""
        return self._kind.probe(self._preprocessing.tensors, self._data)

    def signature(self) -> ModelSignature:
        """The columns that a row has, and those of an answer."""
        strings = self._preprocessing.strings
        return ModelSignature(
            Schema([ColSpec(self._kind.column, name) for name in strings["example"]]),
            Schema([ColSpec("double", name) for name in strings["outputs"]]),
        )

    def example(self) -> pd.DataFrame:
        """A row."""
        return pd.DataFrame([self._preprocessing.strings["example"]])

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
