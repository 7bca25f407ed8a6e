import pytest

from tests.support.spec_files import BASE, study


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1h30m", 5400), ("45s", 45), ("1.5 h", 5400), ("1d 2h", 93600), ("90", 90)],
)
def test_durations(text: str, seconds: float) -> None:
    assert study(BASE + f"budget: {{timeout: {text}}}").budget.timeout == seconds
