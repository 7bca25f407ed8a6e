"""What is kept of data for served models comes back as it was, or not at all."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.data.preprocessing import Preprocessing, read_preprocessing

KEPT = Preprocessing("table", {"words": ["a", "\u00fc"]}, {"median": torch.tensor([1.0, 2.0])})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save(KEPT.state(), tmp_path / "kept.pt")
    return tmp_path / "kept.pt"


def test_what_was_kept_is_read_again(path: Path) -> None:
    found = read_preprocessing(path, KEPT.digest)
    assert (found.kind, found.strings) == ("table", KEPT.strings)
    assert found.tensors.keys() == {"median"}
    assert found.tensors["median"].equal(KEPT.tensors["median"])


def test_its_digest_tells_strings_numbers_and_kind_apart() -> None:
    others = [
        replace(KEPT, kind="text"),
        replace(KEPT, strings={"words": ["a", "u"]}),
        replace(KEPT, tensors={"median": torch.tensor([1.0, 2.5])}),
        replace(KEPT, tensors={"mean": torch.tensor([1.0, 2.0])}),
    ]
    assert len({kept.digest for kept in (KEPT, *others)}) == 5
    assert replace(KEPT).digest == KEPT.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: [state], "is none of ours"),
        (lambda state: {**state, "strings": "{"}, "is none of ours"),
        (lambda state: {**state, "tensors": {"median": 1}}, "is none of ours"),
        (lambda state: {**state, "strings": "{}"}, "is not what was kept"),
        (lambda state: {**state, "format": 99}, "is not what was kept"),
    ],
)
def test_what_is_something_else_is_told(
    path: Path, change: Callable[[Any], Any], message: str
) -> None:
    torch.save(change(KEPT.state()), path)
    with pytest.raises(ValueError, match=message):
        read_preprocessing(path, KEPT.digest)


def test_nothing_in_it_can_run_code(path: Path) -> None:
    torch.save({**KEPT.state(), "strings": Path("/")}, path)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        read_preprocessing(path, KEPT.digest)
