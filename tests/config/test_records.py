from dataclasses import dataclass
from typing import NamedTuple

import pytest

from sweeper.config.records import read_record


@dataclass(frozen=True)
class Part:
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not all(size > 0 for size in self.sizes):
            raise ValueError("sizes must be > 0")


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part | None = None


class Pair(NamedTuple):
    name: str
    number: int


def test_a_record_is_read_as_what_declares_it() -> None:
    assert read_record(Whole, {"name": "a", "part": {"sizes": [1, 2]}}) == Whole("a", Part((1, 2)))
    assert read_record(Whole, {"name": "a"}) == Whole("a")
    assert read_record(Pair, ["a", 1]) == Pair("a", 1)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"part": None}, "^name: "),
        ({"name": 1}, "^name: .*string"),
        ({"name": "a", "more": 1}, "^more: "),
        ({"name": "a", "part": {"sizes": [1], "more": 1}}, r"^part\.more: "),
        ({"name": "a", "part": {"sizes": ["x"]}}, r"^part\.sizes\.0: .*integer"),
        ({"name": "a", "part": {"sizes": [0]}}, "^part: sizes must be > 0$"),
        (["a"], "."),
        (None, "."),
    ],
)
def test_the_first_fault_is_told_with_its_place(record: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_record(Whole, record)


@pytest.mark.parametrize("record", [["a"], ["a", 1, 2], ["a", "b"], "a", {"name": "a"}])
def test_a_list_is_of_the_declared_length_and_types(record: object) -> None:
    with pytest.raises(ValueError, match="."):
        read_record(Pair, record)


def test_a_fault_in_a_list_is_told_by_the_name_of_the_value() -> None:
    with pytest.raises(ValueError, match=r"^number: .*integer"):
        read_record(Pair, ["a", "b"])
