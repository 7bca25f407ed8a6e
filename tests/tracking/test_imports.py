import gc
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType

import pytest

from sweeper.tracking.imports import loading


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


class Circle:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_rests_inside_and_works_again_afterwards() -> None:
    with loading():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), loading():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def load_small_package() -> list[list[object]]:
    sys.modules["this_is_no_package"] = ModuleType("this_is_no_package")
    return [[] for _ in range(1000)]


def test_what_was_loaded_is_looked_through_no_more() -> None:
    with loading():
        loaded = load_small_package()
    del sys.modules["this_is_no_package"]
    assert not {id(item) for item in gc.get_objects()} & {id(item) for item in loaded}
    assert gc.get_freeze_count() >= len(loaded)


def test_where_nothing_was_imported_nothing_stays() -> None:
    before = gc.get_freeze_count()
    with loading():
        made = weakref.ref(Circle())
    gc.collect()
    assert made() is None
    assert gc.get_freeze_count() == before


def test_what_was_garbage_before_does_not_stay() -> None:
    before = weakref.ref(Circle())
    with loading():
        pass
    assert before() is None
