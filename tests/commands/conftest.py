import pytest


@pytest.fixture(autouse=True)
def _no_pictures(no_pictures: None) -> None: ...
