"""Study files as texts: read, drawn from, and the lines that refuse bad ones."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.config.ranges import Range
from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar
from sweeper.config.space import Suggest, first_value
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError

STUDIES = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))
#: The least that a study file holds; what follows begins on line 3.
BASE = "data: {name: digits}\nmodel: {architecture: mlp}\n"


def study(text: str) -> StudySpec:
    return parse_study(text, Path("s.yaml"))


def drawing(values: Mapping[str, Scalar], drawn: list[str] | None = None) -> Suggest:
    """The given values, by dotted name, else the first; names are noted as they are asked."""

    def suggest(name: str, span: Range) -> Scalar:
        if drawn is not None:
            drawn.append(name)
        return values.get(name, first_value(name, span))

    return suggest


def assert_refused(text: str, expected: str) -> None:
    """Expected is a line for each problem, without the file's name."""
    with pytest.raises(SpecError) as caught:
        study(text)
    lines = [f"s.yaml:{line.strip()}" for line in expected.strip().splitlines()]
    assert str(caught.value).splitlines() == lines
