"""When a CronJob makes a Job: the lines and time zones that Kubernetes takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import available_timezones

from sweeper.config.problems import did_you_mean

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: February as in a leap year.
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<low>[*?]|\w+)(-(?P<high>\w+))?(/(?P<step>[0-9]+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    words: Sequence[str] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.words:
            return self.low + self.words.index(text.lower())
        value = int(text) if text.isascii() and text.isdigit() else -1
        if self.low <= value <= self.high:
            return value
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        sunday = "; Sunday is 0" if self.name == "weekday" and value == 7 else ""
        raise ValueError(f"the {self.name} lies in {self.low} to {self.high}{words}{sunday}")

    def values(self, text: str) -> set[int]:
        """Of a list of parts, each one, all (``*``), from-to, or every so many of these."""
        return {value for part in text.split(",") for value in self._part(part)}

    def _part(self, part: str) -> range:
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{self.name} {part!r} is none of *, 5, 1-5, */10, 1-30/10")
        if found["step"] and int(found["step"]) == 0:
            raise ValueError(f"{self.name} {part!r} has a step of 0")
        low, high = self.low, self.high
        if found["low"] not in "*?":
            low = self.number(found["low"])
            high = self.number(found["high"]) if found["high"] else high if found["step"] else low
        if low > high:
            raise ValueError(f"{self.name} {part!r} ends before it begins; write two with a comma")
        return range(low, high + 1, int(found["step"] or 1))


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


def cron_fault(line: str) -> str:
    """Why Kubernetes would start nothing by that line, or nothing."""
    if line.startswith("@"):
        return "" if line in _MACROS else f"there is no such macro{did_you_mean(line, _MACROS)}"
    if "TZ=" in line:
        return "the time zone goes into timeZone"
    texts = line.split()
    if len(texts) != len(_FIELDS):
        return (
            "must have five fields, minute hour day month weekday, e.g. '0 2 * * mon-fri', "
            f"this one has {len(texts)}"
        )
    try:
        values = [field.values(text) for field, text in zip(_FIELDS, texts, strict=True)]
    except ValueError as exc:
        return str(exc)
    _, _, days, months, _ = values
    # A weekday that is given is an alternative to the day, not a further condition.
    is_day_alone = texts[4] in ("*", "?")
    if is_day_alone and min(days) > max(_DAYS_OF_MONTH[month - 1] for month in months):
        return f"no month of these has a day {min(days)}"
    return ""


def time_zone_fault(name: str) -> str:
    """Why there is no time zone of that name, or nothing; nothing too where none is known."""
    zones = available_timezones()
    if not zones or name in zones:
        return ""
    near = did_you_mean(name, zones, otherwise="; e.g. Europe/Zurich")
    return f"there is no such time zone{near}"
