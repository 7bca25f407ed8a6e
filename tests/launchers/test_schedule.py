from datetime import datetime

import pytest

from sweeper.errors import SpecError
from sweeper.launchers.schedule import cron_line, parse_begin, parse_every

NOW = datetime(2026, 11, 25, 14, 10, 30)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("02:30", datetime(2026, 11, 26, 2, 30)),
        ("14:11", datetime(2026, 11, 25, 14, 11)),
        ("14:10", datetime(2026, 11, 26, 14, 10)),
        ("1h30m", datetime(2026, 11, 25, 15, 40, 30)),
        ("2026-12-01T02:30", datetime(2026, 12, 1, 2, 30)),
        ("2026-12-01", datetime(2026, 12, 1)),
    ],
)
def test_moments_as_people_write_them(text: str, begin: datetime) -> None:
    assert parse_begin(text, NOW) == begin


@pytest.mark.parametrize("text", ["25:00", "soon", "3 bananas", "", "2026-13-01", "-1h"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--begin: must be a time such as 02:30"):
        parse_begin(text, NOW)


def test_the_past_is_refused() -> None:
    with pytest.raises(SpecError, match="--begin: must not be past, got '2026-11-01'"):
        parse_begin("2026-11-01", NOW)


@pytest.mark.parametrize("text", ["30s", "90s", "daily", "0m"])
def test_a_period_is_whole_minutes(text: str) -> None:
    with pytest.raises(SpecError, match="--every: "):
        parse_every(text)


@pytest.mark.parametrize(
    ("every", "line"),
    [
        ("1m", "* * * * *"),
        ("15m", "10-59/15 * * * *"),
        ("1h", "10 * * * *"),
        ("6h", "10 2-23/6 * * *"),
        ("1d", "10 14 * * *"),
        ("7d", "10 14 * * 3"),
        ("7m", None),
        ("5h", None),
        ("2d", None),
    ],
)
def test_cron_has_words_for_parts_of_hours_and_days(every: str, line: str | None) -> None:
    assert cron_line(parse_every(every), NOW) == line
