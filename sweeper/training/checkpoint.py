"""One file from which a trial goes on after its process died, or stopped.

It is what ``torch.save`` makes, followed by a CRC-32 of all of it: torch reads over the rest, and
looks at no checksum of its own.
"""

import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.durable import Step, durable, replace_file
from sweeper.errors import StoreError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

log = logging.getLogger("sweeper")

#: The CRC-32 of anything that ends in its own CRC-32, lowest byte first.
_WHOLE = 0x2144DF1C


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that ``path`` holds the old state or the new one, never a part.

    It is written tensor by tensor without a copy in between.

    Args:
        path: Its folder is made if need be.
        state: Tensors, numbers, strings, and lists, tuples and dicts of them.

    Raises:
        StoreError: If the disk does not take it; what was there before stays.
    """
    import torch  # not at the top: who only asks is_whole needs no torch

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            durable(Step.CHECKPOINT_RENAME),
            replace_file(path) as aside,
            durable(Step.CHECKPOINT),
            _SummedFile(FileIO(aside, "wb")) as file,
        ):
            torch.save(state, file)
            file.write(file.crc.to_bytes(4, "little"))


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what torch makes of a disk that does not take a file into a :class:`StoreError`."""
    try:
        yield
    except Exception as exc:
        reason = _disk_error(exc)
        if reason is None:
            raise
        raise StoreError(
            f"{path}: the checkpoint cannot be written: {reason.strerror}; "
            "make room or move the studies elsewhere"
        ) from exc


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What :func:`save_checkpoint` wrote, tensors on the CPU; None if there is no such file.

    A file whose checksum is wrong is moved to ``*.broken`` with a warning, and counts as none. A
    crash leaves no such file. Nothing in a file can run code.

    Raises:
        StoreError: If the disk does not let it be read.
    """
    try:
        if (state := load_whole(path)) is not None:
            return state
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreError(
            f"{path}: the checkpoint cannot be read: {exc.strerror}; "
            "mend that, or delete the file to start this trial over"
        ) from exc
    broken = path.with_name(f"{path.name}.broken")
    with durable(Step.CHECKPOINT_RENAME):
        os.replace(path, broken)
    log.warning(
        "%s: its checksum is wrong, so it is torn or foreign; it is now %s, and the trial starts "
        "over",
        path,
        broken.name,
    )
    return None


def load_whole(path: Path) -> dict[str, Any] | None:
    """What :func:`save_checkpoint` wrote, as it is read there; None if its checksum is wrong.

    Raises:
        OSError: If the file cannot be read.
    """
    import torch

    if not is_whole(path):
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def is_whole(path: Path) -> bool:
    """Whether the checksum in a file of :func:`save_checkpoint` is right; loads no torch.

    Raises:
        OSError: If the file cannot be read.
    """
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            crc = zlib.crc32(chunk, crc)
    return crc == _WHOLE


class _SummedFile(BufferedWriter):
    """A file that knows the CRC-32 of what was written to it."""

    crc = 0

    def write(self, data: "ReadableBuffer") -> int:
        self.crc = zlib.crc32(data, self.crc)
        return super().write(data)


def _disk_error(error: BaseException | None) -> OSError | None:
    """The error of the file, which torch's writer may bury below one of its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error
