"""Something that a terminal shows in one place, drawn anew as it changes."""

import sys
from collections import deque

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

#: Lines above it that are shown again after a resize.
_MOST_SAID = 20


class Redrawn:
    """One such thing, below what is said meanwhile.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._size = console.size
        self._said: deque[Text] = deque(maxlen=_MOST_SAID)
        self._live = self._open()

    def _open(self) -> Live:
        # Nobody else draws: each time it must be seen first whether the size has changed.
        live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),  # else it goes to a file, and does no harm here
        )
        live.start()
        return live

    def draw(self, renderable: RenderableType) -> None:
        """Draw it in the place of what is drawn."""
        self._follow_size()
        self._live.update(renderable, refresh=True)

    def say(self, text: Text) -> None:
        """A line above it, which stays."""
        self._follow_size()
        self._said.append(text)
        self._console.print(text)

    def close(self) -> None:
        """Leave the terminal without it."""
        self._follow_size()
        self._live.stop()

    def _follow_size(self) -> None:
        """After a resize, begin anew on an empty screen, with what was said last.

        A narrower terminal makes two lines of one, before or after it tells its new width, so
        where things are is not known.
        """
        if self._console.size == self._size:
            return
        self._size = self._console.size
        self._live.stop()
        # Line by line: some terminals keep a screen that is cleared at once as scrolled away.
        erase = (ControlType.ERASE_IN_LINE, 2)
        lines = [erase, *[(ControlType.CURSOR_DOWN, 1), erase] * (self._size.height - 1)]
        self._console.control(Control(ControlType.HOME, *lines, ControlType.HOME))
        for text in self._said:
            self._console.print(text)
        self._live = self._open()
