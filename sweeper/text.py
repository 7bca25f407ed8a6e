"""Words for people: without passwords, counts and times as one says them, log lines."""

import logging
import re
from collections.abc import Mapping
from typing import Any

_SECRETS = "((?:ssl)?password|passwd|token|secret|api_?key)"
_QUOTED = """('[^']*'|"[^"]*")"""
#: Where a password stands, and what of it stays. As far as a URL may go where it is one: a
#: password may hold an @, a / or a quote of its own, escaped or not.
_BLACKENED = (
    (re.compile(r"://\S*@"), "://***@"),
    (re.compile(rf"(?i)([?&]){_SECRETS}=[^&\s]+"), r"\1\2=***"),
    (re.compile(rf"(?i)\b{_SECRETS}=(?!\*\*\*)({_QUOTED}|[^&\s'\"]+)"), r"\1=***"),
    (re.compile(rf"(?i)(['\"]){_SECRETS}\1: *{_QUOTED}"), r"\1\2\1: ***"),
)


def redacted(text: str) -> str:
    """A text as it may be shown or stored: without user names and passwords of URLs.

    Nor those of a query, a keyword argument or a dict that a message shows. Take it before a text
    is cut: of half a URL nobody knows what it holds.
    """
    for pattern, replacement in _BLACKENED:
        text = pattern.sub(replacement, text)
    return text


def format_count(n: int, noun: str) -> str:
    """``1 trial`` or ``2 trials``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def format_counts(counts: Mapping[Any, int]) -> str:
    """``3 complete, 1 pruned``; what there is none of is left out."""
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def format_seconds(seconds: float) -> str:
    """``7s``, ``3m05s`` or ``2h10m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class _RedactingFormatter(logging.Formatter):
    """Also of tracebacks, whose lines may show a URL."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def log_to_stderr(form: str, level: int) -> None:
    """Set the process's logging up.

    Args:
        form: Of a line, as in :mod:`logging`.
        level: Lowest that is shown.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_RedactingFormatter(form))
    logging.basicConfig(handlers=[handler], level=level)
