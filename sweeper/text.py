"""Log lines on standard error, without passwords."""

import logging

from sweeper.errors import redacted


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
