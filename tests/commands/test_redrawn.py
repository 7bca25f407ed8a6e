import io

import pytest
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from sweeper.commands.redrawn import Redrawn

HOME, ERASE_LINE = "\x1b[H", "\x1b[2K"


class Terminal(Console):
    """Of 100 columns and 24 lines; tells what it was sent since the last time."""

    def __init__(self) -> None:
        self.sent = io.StringIO()
        super().__init__(file=self.sent, force_terminal=True, width=100, height=24)

    def take(self) -> str:
        text = self.sent.getvalue()
        self.sent.seek(0)
        self.sent.truncate()
        return text


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_it_is_drawn_in_its_place_below_what_is_said(terminal: Terminal) -> None:
    redrawn = Redrawn(terminal)
    redrawn.draw(Text("one\ntwo"))
    terminal.take()
    redrawn.say(Text("said"))
    sent = terminal.take()
    assert sent.count(ERASE_LINE) == 2
    assert sent.index("said") < sent.index("one")
    redrawn.draw(Text("three"))
    redrawn.close()
    assert HOME not in terminal.take()


def test_after_a_resize_the_screen_begins_anew_with_what_was_said(terminal: Terminal) -> None:
    redrawn = Redrawn(terminal)
    redrawn.say(Text("said before"))
    redrawn.draw(Text("title\nrow"))
    terminal.take()
    terminal.size = ConsoleDimensions(60, 10)
    redrawn.draw(Text("title\nrow"))
    _, erased, shown = terminal.take().split(HOME)
    assert erased.count(ERASE_LINE) == 10
    assert shown.startswith("said before")
    assert shown.count("title") == 1
    redrawn.draw(Text("title\nrow"))
    assert HOME not in terminal.take()


def test_of_much_that_was_said_the_latest_is_shown_again(terminal: Terminal) -> None:
    redrawn = Redrawn(terminal)
    for number in range(100):
        redrawn.say(Text(f"said {number}"))
    terminal.take()
    terminal.size = ConsoleDimensions(60, 24)
    redrawn.draw(Text("row"))
    shown = terminal.take()
    assert "said 99" in shown
    assert shown.count("said") == 20
