from collections.abc import Iterator
from contextlib import closing

import pytest

from sweeper.workers.forkserver import ForkServer


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Of all workers that tests start: it imports torch once."""
    with closing(ForkServer(print)) as server:
        yield server
