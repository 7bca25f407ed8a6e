from collections.abc import Mapping

import pytest

from sweeper.errors import TrainingError
from sweeper.training.user_tags import Tags


def refuse(tags: Mapping[str, str]) -> None:
    raise AssertionError(f"{dict(tags)} was told")


def test_what_is_set_is_told_and_read_as_a_text() -> None:
    told: list[Mapping[str, str]] = []
    tags = Tags({"note": "first"}, told.append)
    tags["rows"] = 12
    tags.update(note="second")
    assert told == [{"rows": "12"}, {"note": "second"}]
    assert dict(tags) == {"note": "second", "rows": "12"}
    assert repr(tags) == "{'note': 'second', 'rows': '12'}"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("sweeper.state", "tags that begin with sweeper. are sweeper's own; give it another name"),
        ("mlflow.runName", "tags that begin with mlflow. are mlflow's own"),
        ("top 5 %", "MLflow takes letters, digits, spaces and _ - . : / in a name alone"),
        (5, "it must be a text"),
    ],
)
def test_a_name_that_is_anothers_or_none_is_refused(name: str, fault: str) -> None:
    tags = Tags({}, refuse)
    with pytest.raises(TrainingError) as caught:
        tags[name] = "x"
    assert str(caught.value).startswith(f"trial.tags: {name!r} is no name for a tag: {fault}")


def test_a_tag_is_neither_cut_nor_taken_away() -> None:
    tags = Tags({"note": "x"}, refuse)
    with pytest.raises(TrainingError, match="note has 8,001 signs, and MLflow keeps 8,000; log"):
        tags["note"] = "x" * 8001
    with pytest.raises(TrainingError, match="note was set and stays; set it to something else"):
        del tags["note"]
