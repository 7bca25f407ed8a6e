"""Importing big packages without the garbage collector, which finds nothing in them."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# At its end, torch complains of what it finds uncollected.
atexit.register(gc.unfreeze)


#: What has been imported.
_loaded: set[str] = set()


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Import big packages inside; what has been made then is never looked through again.

    While torch or MLflow is imported, the collector goes through a million objects again and
    again, all of which stay: a quarter of the time. So it rests, and leaves them out for good.

    Args:
        what: Is imported. The second time there is nothing left to import, and this does nothing.
    """
    if what in _loaded:
        yield
        return
    n_modules = len(sys.modules)
    gc.collect()  # what is garbage now would stay as well
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        _loaded.add(what)
    finally:
        if len(sys.modules) > n_modules:
            gc.freeze()
        if was_on:
            gc.enable()
