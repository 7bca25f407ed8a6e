"""What makes a network's inputs of the data as a person has them, as served models need it.

A worker keeps it once for all trials on the same data, under its digest, beside the trials; who
logs a model takes it from there, on whatever machine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Raised by one whenever the meaning of what is kept changes.
_FORMAT = 1


@dataclass(frozen=True)
class Preprocessing:
    """What was fitted to training rows, and the names that a person knows.

    Attributes:
        kind: Of the data, as :data:`sweeper.tracking.served_kinds.KINDS` has it.
        strings: As JSON has them. Of all kinds ``outputs``, names of what a model answers; of
            those with rows ``example``, a value for each column; and what the kind's reader needs.
        tensors: As the kind's module takes them.
    """

    kind: str
    strings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @cached_property
    def digest(self) -> str:
        """16 hex digits of a SHA-256 over all of it."""
        whole = sha256(f"{_FORMAT} {self.kind} {self._text()}".encode())
        for name, tensor in sorted(self.tensors.items()):
            whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            whole.update(tensor.contiguous().numpy().tobytes())
        return whole.hexdigest()[:16]

    def _text(self) -> str:
        return json.dumps(self.strings)

    def state(self) -> dict[str, Any]:
        """What a file of torch holds of it."""
        strings, tensors = self._text(), dict(self.tensors)
        return {"format": _FORMAT, "kind": self.kind, "strings": strings, "tensors": tensors}


def read_preprocessing(path: Path, digest: str) -> Preprocessing:
    """What lies in a file; nothing in it can run code.

    Raises:
        ValueError: If it is something else than what the digest is of.
        Exception: Whatever torch meets in a file of somebody else.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        strings = json.loads(state["strings"])
        found = Preprocessing(state["kind"], strings, state["tensors"])
        is_whole = state["format"] == _FORMAT and found.digest == digest
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as exc:
        raise ValueError("is none of ours") from exc
    if not is_whole:
        raise ValueError("is not what was kept, or another version of sweeper kept it")
    return found
