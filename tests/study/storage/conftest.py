from pathlib import Path

import pytest

from tests.support.sweep_studies import epoch
from tests.support.transfer_nodes import NUMBER, Node, started


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "object_store").mkdir()
    return f"file://{tmp_path}/object_store"


@pytest.fixture
def first(tmp_path: Path, url: str) -> Node:
    """In the middle of a trial that it claimed."""
    node = Node(tmp_path / "first", url)
    node.transfer.begin(NUMBER, 1)
    node.log(started(0), epoch(1, 0.5))
    node.save(b"one")
    return node


@pytest.fixture
def second(tmp_path: Path, url: str) -> Node:
    return Node(tmp_path / "second", url)
