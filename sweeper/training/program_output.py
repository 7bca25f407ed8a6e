"""What a program prints, in files: passed on as it comes, and cut into lines.

A pipe would lose what was printed and not yet read when the process that reads it is killed. The
next one finds it in the files.
"""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

#: No report is longer, and a bad regular expression takes a square of that.
LONGEST_LINE = 64 * 1024
_CHUNK = 64 * 1024


class PrintedLines:
    """The lines of a file that a program prints to.

    Args:
        path: Of the file, which exists.
        passed_to: Where all of it is printed once more.
        note: Told of lines that are not read.

    Attributes:
        last: The last line that is not blank.
    """

    def __init__(self, path: Path, passed_to: TextIO, note: Callable[[str], None]) -> None:
        self.last = ""
        self._file = path.open("rb", buffering=0)
        self._passed_to = passed_to
        self._note = note
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._is_too_long = False

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def read(self) -> list[str]:
        """The lines that have ended since the last call, as far as one look goes."""
        chunk = self._file.read(_CHUNK) or b""
        return self._cut(chunk, self._decoder.decode(chunk)) if chunk else []

    def read_rest(self) -> Iterator[str]:
        """All that is left, when nothing more comes; its last line may have no end."""
        while chunk := self._file.read(_CHUNK):
            yield from self._cut(chunk, self._decoder.decode(chunk))
        last = self._decoder.decode(b"", final=True)
        if self._rest or last:
            yield from self._cut(b"", f"{last}\n")

    def _cut(self, chunk: bytes, text: str) -> list[str]:
        self._pass_on(chunk, text)
        *lines, rest = (self._rest + text).split("\n")
        self._rest = rest[rest.rfind("\r", 0, -1) + 1 :]  # of a bar, what it shows by now
        whole = [line for line in lines if self._is_readable(line)]
        if len(self._rest) > LONGEST_LINE:
            self._rest, self._is_too_long = "", True
        shown = [line.removesuffix("\r").rpartition("\r")[2] for line in whole]
        self.last = next((line for line in reversed(shown) if line.strip()), self.last)
        return shown

    def _pass_on(self, chunk: bytes, text: str) -> None:
        if hasattr(self._passed_to, "buffer"):
            self._passed_to.buffer.write(chunk)
        else:  # a notebook's
            self._passed_to.write(text)
        self._passed_to.flush()

    def _is_readable(self, line: str) -> bool:
        is_too_long = self._is_too_long or len(line) > LONGEST_LINE
        self._is_too_long = False
        if is_too_long:
            self._note(
                f"train.command: a line of output that is longer than {LONGEST_LINE // 1024} KiB "
                "is passed on, but not read for reports"
            )
        return not is_too_long


def printed_before(folder: Path) -> Iterator[str]:
    """The whole lines that an earlier process left in the files of a folder, if there are any."""
    for path in sorted(folder.glob("*")):
        lines = path.read_bytes().decode(errors="replace").split("\n")
        yield from (line.removesuffix("\r").rpartition("\r")[2] for line in lines[:-1])
