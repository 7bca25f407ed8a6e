"""The hyperparameters that a study varies, as columns of a table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.config.settings import Scalar

#: A longer word says what it is by its beginning.
_MOST_CHARS = 16


@dataclass(frozen=True)
class ParamColumn:
    """One column.

    Attributes:
        title: What people call it: the last part of the name, if that is enough.
        names: Dotted names of the ranges that it shows, of which a trial has one at most.
    """

    title: str
    names: Sequence[str]

    def cell(self, params: Mapping[str, Scalar]) -> str:
        """Its value in a trial; empty if the trial's branch has none."""
        value = next((params[name] for name in self.names if name in params), "")
        if isinstance(value, float):
            return f"{value:.3g}"
        text = str(value).rpartition(":")[2]
        return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def param_columns(names: Sequence[str]) -> list[ParamColumn]:
    """Columns for a study's ranges: those that every trial has, then those of branches.

    Args:
        names: Dotted names, as the study file has them. ``model.architecture.cnn.depth`` and
            ``model.architecture.mlp.depth`` share a column, as a trial is in one branch.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names, key=lambda name: _parent(name, names) != _section(name)):
        groups.setdefault((_parent(name, names), name.rpartition(".")[2]), []).append(name)
    leaves = [leaf for _, leaf in groups]
    return [
        ParamColumn(leaf if leaves.count(leaf) == 1 else f"{parent}.{leaf}", found)
        for (parent, leaf), found in groups.items()
    ]


def _parent(name: str, names: Sequence[str]) -> str:
    """The range whose branch it belongs to, or its section."""
    above = [other for other in names if name.startswith(f"{other}.")]
    return max(above, key=len, default=_section(name))


def _section(name: str) -> str:
    return name.partition(".")[0]
