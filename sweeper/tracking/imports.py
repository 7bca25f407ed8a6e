"""Importing big packages without the garbage collector, which finds nothing in them."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# At its end, torch complains of what it finds uncollected.
atexit.register(gc.unfreeze)


@contextmanager
def loading() -> Iterator[None]:
    """Import big packages inside; what has been made then is never looked through again.

    While torch or MLflow is imported, the collector goes through a million objects again and
    again, all of which stay: a quarter of the time. So it rests, and leaves them out for good.
    """
    n_modules = len(sys.modules)
    gc.collect()  # what is garbage now would stay as well
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > n_modules:
            gc.freeze()
        if was_on:
            gc.enable()
