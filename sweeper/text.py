"""Words for people: without secrets, counts and times as one says them, log lines."""

import html
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from sweeper.errors import SweeperError

_QUOTED = r"""[bru]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_CUT = r"""[bru]?\\*['"].*"""  # a quote that is not closed, or one within quotes
#: From its scheme on; but for paths, which hold no user, and may hold an @.
_URL = re.compile(r"://(?!(?:(?<=file://)|(?<=sqlite://))/)\S+")
#: What a setting or a metric of language models is, and no token that opens a door.
_COUNT = (
    r"(?:[-+]?(?:\d{1,5}|\d*\.\d+)(?:e[-+]?\d+)?|true|false|none|null|nan|-?inf)(?!\.?[\w+/=-])"
)
#: Something by its name, whatever stands before that: PGPASSWORD, AWS_SECRET_ACCESS_KEY,
#: X-Auth-Token. A pad_token is no secret, but a word of language models; so are tokens.
_NAMED = re.compile(
    rf"""
    (?P<name>
        (?:
            (?: passw(?:or)?d | passphrase | secret | credential
              | (?:api|access|account|auth|deploy|encryption|private|signing|ssh)[-_]?key
            )[\w-]{{0,64}}+  # a long word of such words would take minutes
          | (?<![be]os_)(?<!pad_)(?<!cls_)(?<!sep_)(?<!unk_)(?<!mask_)
            token(?:[-_]?(?:key|value|\d+))?(?!\w)(?!['"]?[ \t]*[:=][ \t]*{_COUNT})
          | (?-i: (?<=[A-Z0-9]_)(?:KEY|PASS|PWD) )(?==)  # of an environment
          | (?<=[;?&])(?: pwd | sig | [\w-]*signature )(?==)
        )
        \\*['"]?\]?
    )
    (?:
        (?P<equals> [ \t]*(?:=[=>]?|%3D)[ \t]* )
        (?: {_QUOTED}(?:{_QUOTED}|[^\s&,;)}}\]])* | {_CUT}
          | (?:\\[^\n]|[^\s&])+?(?=['")\]}},;.]*(?:(?<!\\)[\s&]|$)) )
      | (?P<colon> [ \t]*:[ \t]* )  # in a sentence a word follows: what stands alone is a value
        (?: {_QUOTED} | {_CUT} | \S+?(?=[,;)}}\]]+\s|['"),;}}\]]*[ \t]*(?:\#.*)?$)
          | (?=\S*\d)\S{{8,}} )
      | (?P<comma> (?<=['"]),\s* ) {_QUOTED}
    )
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_HEADER = re.compile(
    rf"""
    (?P<name> \b(?:proxy-)?authorization | \b(?:set-)?cookie )
    (?P<sign> \\*['"]?\]?[ \t]*[:=,][ \t]* )
    (?: {_QUOTED} | {_CUT} | digest\b.* | [^\r\n'"]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: By what stands before it, or by its own form.
_OTHER = (
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), r"\1***"),
    (
        re.compile(
            r"(?i)(?<![\w-])(--?[\w-]*(?:password|secret|token|key)[ \t]+)"
            rf"(?:(?:{_QUOTED})+|[^\s'\"-]\S*)"
        ),
        r"\1***",
    ),
    (re.compile(r"(?<![\w-])((?:-u|--user)[ \t=]+[^\s:'\"]+:)(?!\d+\b)[^\s'\"]+"), r"\1***"),
    (re.compile(rf"(?i)((?:password|identified by)[ \t]+){_QUOTED}"), r"\1***"),
    (re.compile(rf"(?i)\bauth=\((?:{_QUOTED}|[^)'\"\n])*\)"), "auth=***"),
    (
        re.compile(
            r"\b(?:gh[pousr]_|github_pat_|hf_|sk-|glpat-|xox[abeoprs]-|AKIA|ASIA|eyJ[\w-]+\.eyJ)"
            r"(?=[\w.-]*\d)[\w.-]{14,}"
        ),
        "***",
    ),
    (re.compile(r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)"), r"\1***"),
)


def redacted(text: str) -> str:
    """A text as it may be shown or stored: without secrets, as far as they can be told.

    Those are users and passwords of URLs; what has the name of a secret, in a query, an
    environment, a call, a dict, YAML or a header; tokens and keys of well-known forms. Take it
    before a text is cut: of half a URL nobody knows what it holds.
    """
    text = _URL.sub(_without_user, text)
    text = _HEADER.sub(r'\g<name>\g<sign>"***"', text)
    text = _NAMED.sub(_without_value, text)
    for pattern, replacement in _OTHER:
        text = pattern.sub(replacement, text)
    return text


def _without_user(found: re.Match[str]) -> str:
    """A password may hold an @, a / or a quote of its own, escaped or not: the last @ counts."""
    _, at, rest = found[0].rpartition("@")
    return f"://***@{rest}" if at else found[0]


def _without_value(found: re.Match[str]) -> str:
    sign = found["equals"]
    if sign:
        return f"{found['name']}{sign}***"
    return f'{found["name"]}{found["colon"] or found["comma"]}"***"'  # still YAML and JSON


def format_count(n: int, noun: str) -> str:
    """``1 trial`` or ``2 trials``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def format_counts(counts: Mapping[Any, int]) -> str:
    """``3 complete, 1 pruned``; what there is none of is left out."""
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def format_number(value: float) -> str:
    """``2,880``, ``28`` or ``2.9``: as many digits as people read."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def format_values(values: Mapping[str, float], n_digits: int = 6) -> str:
    """``val_accuracy 0.972222, val_loss 0.1``."""
    return ", ".join(f"{name} {value:.{n_digits}g}" for name, value in values.items())


def write_out(text: str) -> None:
    """A text to standard output, at once, with the end of its line.

    Raises:
        SweeperError: If there is no room for it, as on a full disk.
        BrokenPipeError: If whoever read it has gone.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise SweeperError(f"standard output cannot be written: {exc.strerror}") from exc


def format_seconds(seconds: float) -> str:
    """``7s``, ``3m05s`` or ``2h10m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def html_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table for a notebook, below its title."""
    head = "".join(f"<th>{_for_html(cell)}</th>" for cell in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_for_html(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return (
        f"<p>{_for_html(title)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _for_html(text: str) -> str:
    return html.escape(redacted(text))


class _RedactingFormatter(logging.Formatter):
    """Also of tracebacks, whose lines may show a URL."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what standard error is by then: above a table that a terminal shows."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


def log_to_stderr(form: str, level: int) -> None:
    """Set the process's logging up.

    Args:
        form: Of a line, as in :mod:`logging`.
        level: Lowest that is shown.
    """
    handler = _StderrHandler()
    handler.setFormatter(_RedactingFormatter(form))
    logging.basicConfig(handlers=[handler], level=level)
