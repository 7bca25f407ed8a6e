"""The new file."""

from pathlib import Path

from sweeper.commands.init.template import render_template
from sweeper.errors import SpecError


def write_study(path: Path, data: str | None) -> None:
    """Write a study to a new file.

    Args:
        path: The file.
        data: A file of rows, a folder of files, or a kind of data, which it is of; None for one
            that runs at once.

    Raises:
        SpecError: If the file exists already, or cannot be written.
        DataError: If the data cannot be read, or nothing could be learned from them.
    """
    proposal = None
    if data is not None:
        from sweeper.commands.init.propose import propose  # pyarrow

        proposal = propose(data)
    text = render_template(proposal)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise SpecError(f"{path}: exists already; name another file, or remove it") from exc
    except OSError as exc:
        raise SpecError(f"{path}: cannot be written: {exc.strerror}") from exc
