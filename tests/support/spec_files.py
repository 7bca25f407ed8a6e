"""Bad study files and the lines that refuse them."""

from pathlib import Path

import pytest

from sweeper.config.reader import parse_study
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError

STUDIES = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))
#: The least that a study file holds; what follows begins on line 3.
BASE = "data: {name: digits}\nmodel: {architecture: mlp}\n"


def study(text: str) -> StudySpec:
    return parse_study(text, Path("s.yaml"))


def assert_refused(text: str, expected: str) -> None:
    """Expected is a line for each problem, without the file's name."""
    with pytest.raises(SpecError) as caught:
        study(text)
    lines = [f"s.yaml:{line.strip()}" for line in expected.strip().splitlines()]
    assert str(caught.value).splitlines() == lines
