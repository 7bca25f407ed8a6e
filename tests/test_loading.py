import gc
import weakref
from collections.abc import Iterator

import pytest

from sweeper.loading import loading


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


def test_what_was_loaded_is_looked_through_no_more() -> None:
    with loading():
        loaded = [[] for _ in range(1000)]
    assert not {id(item) for item in gc.get_objects()} & {id(item) for item in loaded}
    assert gc.get_freeze_count() >= len(loaded)


def test_what_was_garbage_before_does_not_stay() -> None:
    before = weakref.ref(Circle())
    with loading():
        pass
    assert before() is None
