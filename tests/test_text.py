import io
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sweeper.errors import SweeperError
from sweeper.text import (
    format_count,
    format_counts,
    format_number,
    format_seconds,
    html_table,
    log_to_stderr,
    write_out,
)
from sweeper.trial import TrialState


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (12345, "12,345 trials")],
)
def test_a_count_has_its_plural(n: int, words: str) -> None:
    assert format_count(n, "trial") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (185.0, "3m05s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (7800.0, "2h10m"),
        (90_000.0, "25h00m"),
    ],
)
def test_seconds_are_said_in_the_units_of_their_size(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words


def test_a_traceback_in_the_log_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    log_to_stderr("%(levelname)s %(message)s", logging.WARNING)
    try:
        raise ValueError("postgresql://ann:hunter2@host/db")
    except ValueError:
        logging.getLogger("sweeper").exception("no study at %s", "http://ann:hunter2@host")
    shown = capsys.readouterr().err
    assert shown.startswith("ERROR no study at http://***@host\nTraceback")
    assert "ValueError: postgresql://***@host/db" in shown
    assert "hunter2" not in shown


def test_counts_in_words_leave_out_what_there_is_none_of() -> None:
    assert format_counts({"complete": 3, "failed": 0, "pruned": 1}) == "3 complete, 1 pruned"
    assert format_counts({TrialState.COMPLETE: 2}) == "2 complete"
    assert format_counts({}) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [(2880.4, "2,880"), (28.3, "28"), (9.96, "10"), (9.94, "9.9"), (0.25, "0.2"), (0.0, "0.0")],
)
def test_a_number_has_as_many_digits_as_people_read(value: float, words: str) -> None:
    assert format_number(value) == words


def test_log_lines_go_to_what_standard_error_is_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    log_to_stderr("%(levelname)s %(message)s", logging.WARNING)
    above_a_table = io.StringIO()
    monkeypatch.setattr(sys, "stderr", above_a_table)
    logging.getLogger("sweeper").warning("look")
    assert above_a_table.getvalue() == "WARNING look\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_finds_no_room_is_a_known_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full, write_through=True))
        with pytest.raises(SweeperError, match=r"^standard output cannot be written: No space"):
            write_out("a line")


def test_output_that_nobody_reads_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError):
            write_out("a line")
        monkeypatch.undo()
        with suppress(BrokenPipeError):
            pipe.close()


def test_a_table_for_a_notebook_holds_neither_secrets_nor_tags_of_what_it_shows() -> None:
    page = html_table("a < b", ["x"], [["<b>"], ["postgresql://me:hunter2@db"]])
    assert page == (
        "<p>a &lt; b</p><table><thead><tr><th>x</th></tr></thead><tbody>"
        "<tr><td>&lt;b&gt;</td></tr><tr><td>postgresql://***@db</td></tr></tbody></table>"
    )
