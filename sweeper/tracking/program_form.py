"""What is known of an exported program, by whoever makes an MLflow model of it without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweeper.events import TensorForm


@dataclass(frozen=True)
class RowForm:
    """How a model takes rows as a person has them, and answers by names.

    Attributes:
        column: What a column of a row holds; None if samples are arrays.
        example: A row, by column, as JSON has it; bytes in base 64. Empty if samples are arrays.
        outputs: Names of what is answered.
        reader: Source of ``read_rows(rows, strings)``, which makes of rows what the program takes.
        strings: All that is spelt, as JSON.
        packages: That reader imports, with versions as pip writes them.
    """

    column: Literal["any", "binary", "string"] | None
    example: Mapping[str, Any]
    outputs: tuple[str, ...]
    reader: str
    strings: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class ProgramForm:
    """What an exported program takes and answers.

    Attributes:
        inputs: In the order in which it takes them.
        outputs: What it answers.
        packages: What it needs to run, with versions as pip writes them.
        rows: How it is served; None if it is given and answers arrays.
    """

    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]
    packages: tuple[str, ...]
    rows: RowForm | None = None
