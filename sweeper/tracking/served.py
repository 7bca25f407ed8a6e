"""What a logged model needs to take rows as a person has them, and to answer by names."""

import inspect
import json

from torch import Tensor, nn

from sweeper.data.preprocessing import Preprocessing
from sweeper.tracking.program_form import RowForm
from sweeper.tracking.served_kinds import KINDS
from sweeper.training.export import pinned
from sweeper.trial import DataInfo


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

    def module(self) -> nn.Module:
        """What makes a network's inputs of samples as the reader gives them."""
        return self._kind.build(self._preprocessing.tensors)

    def probe(self) -> Tensor:
        """Three samples as the reader gives them."""
        return self._kind.probe(self._preprocessing.tensors, self._data)

    def rows(self) -> RowForm:
        """What rows are, and answers."""
        strings, kind = self._preprocessing.strings, self._kind
        return RowForm(
            kind.column,
            strings["example"] if kind.column else {},
            tuple(strings["outputs"]),
            inspect.getsource(kind.reader),
            self.strings,
            tuple(map(pinned, ("pandas", *kind.packages))),
        )

    def form(self) -> str:
        """Equal for all whose files are equal, and whose modules are but for their numbers."""
        tensors = self._preprocessing.tensors.items()
        shapes = sorted((name, tuple(tensor.shape)) for name, tensor in tensors)
        return repr((self._preprocessing.kind, shapes, self.strings))
