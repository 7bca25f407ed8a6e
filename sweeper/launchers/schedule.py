"""When jobs begin, and how often: times as people write them, and lines of cron."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock

from sweeper.config.duration import parse_duration
from sweeper.errors import SpecError

_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_MINUTE_S, _HOUR_S, _DAY_S, _WEEK_S = 60, 3600, 86_400, 604_800


@dataclass(frozen=True)
class Schedule:
    """Starts of the whole, again and again.

    Attributes:
        begin_s: The first, in seconds since the Unix epoch.
        every_s: From one to the next, in seconds.
    """

    begin_s: int
    every_s: int


def parse_begin(text: str, now: datetime) -> datetime:
    """A moment in local time: ``02:30`` for the next such time, ``3h`` from now, or ISO 8601.

    Raises:
        SpecError: If it is none of these, or past.
    """
    try:
        if found := _CLOCK.fullmatch(text):
            begin = datetime.combine(now, clock(int(found[1]), int(found[2])))
            return begin if begin > now else begin + timedelta(days=1)
        if text[:1].isdigit() and "-" not in text:
            return now + timedelta(seconds=float(parse_duration(text)))
        begin = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as exc:
        raise SpecError(
            f"--begin: must be a time such as 02:30, a duration such as 3h, or a moment such as "
            f"2026-12-01T02:30, got {text!r}"
        ) from exc
    if begin.tzinfo is not None:
        begin = datetime.fromtimestamp(begin.timestamp())
    if begin < now:
        raise SpecError(f"--begin: must not be past, got {text!r}")
    return begin


def parse_every(text: str) -> int:
    """Seconds of a period such as ``1d``, at least a minute.

    Raises:
        SpecError: If it is no such period.
    """
    try:
        period_s = float(parse_duration(text))
    except ValueError as exc:
        raise SpecError(f"--every: {exc}, got {text!r}") from exc
    if period_s < _MINUTE_S or period_s % _MINUTE_S:
        raise SpecError(f"--every: must be whole minutes, at least one, got {text!r}")
    return int(period_s)


def cron_line(every_s: int, begin: datetime) -> str | None:
    """The five fields of cron that fire every so often from ``begin`` on, in its time zone.

    None where cron has no words for it: it knows parts of an hour, parts of a day, a day, a week.
    """
    minute, hour = begin.minute, begin.hour
    if every_s < _HOUR_S and _HOUR_S % every_s == 0:
        step = every_s // _MINUTE_S
        return f"{minute % step}-59/{step} * * * *" if step > 1 else "* * * * *"
    if every_s < _DAY_S and every_s % _HOUR_S == 0 and _DAY_S % every_s == 0:
        step = every_s // _HOUR_S
        return f"{minute} {hour % step}-23/{step} * * *" if step > 1 else f"{minute} * * * *"
    if every_s == _DAY_S:
        return f"{minute} {hour} * * *"
    if every_s == _WEEK_S:
        return f"{minute} {hour} * * {begin.isoweekday() % 7}"
    return None
