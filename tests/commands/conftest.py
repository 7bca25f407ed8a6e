import pytest


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study in its run, as of one without a value: to draw them is a third of these tests."""
    monkeypatch.setattr("sweeper.tracking.pictures.draw_pictures", lambda *_: {})
