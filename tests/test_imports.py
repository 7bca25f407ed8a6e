import gc
import sys
import uuid
import weakref
from types import ModuleType

import pytest

from sweeper.imports import loading


class Circle:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def what() -> str:
    """Something that has not been imported yet."""
    return uuid.uuid4().hex


def load_small_package(monkeypatch: pytest.MonkeyPatch) -> list[list[object]]:
    monkeypatch.setitem(sys.modules, "this_is_no_package", ModuleType("this_is_no_package"))
    return [[] for _ in range(1000)]


def is_looked_through(item: object) -> bool:
    return any(found is item for found in gc.get_objects())


def test_the_collector_rests_inside_and_works_again_afterwards(what: str) -> None:
    with loading(what):
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_again_after_a_failure(what: str) -> None:
    with pytest.raises(ImportError), loading(what):
        raise ImportError
    assert gc.isenabled()
    with loading(what):
        assert not gc.isenabled(), "it has not been imported yet"


def test_a_collector_that_was_off_stays_off(what: str) -> None:
    gc.disable()
    try:
        with loading(what):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_loaded_is_looked_through_no_more(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loading(what):
        loaded = load_small_package(monkeypatch)
    assert not {id(item) for item in gc.get_objects()} & {id(item) for item in loaded}


def test_where_nothing_was_imported_nothing_stays(what: str) -> None:
    with loading(what):
        made = Circle()
    assert is_looked_through(made)


def test_what_was_garbage_before_does_not_stay(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weakref.ref(Circle())
    with loading(what):
        load_small_package(monkeypatch)
    assert before() is None


def test_the_second_time_nothing_is_collected(what: str) -> None:
    with loading(what):
        pass
    garbage = weakref.ref(Circle())
    with loading(what):
        assert gc.isenabled()
    assert garbage() is not None
