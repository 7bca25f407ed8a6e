"""Files and figures that a user's training function logs, copied into the trial's folder."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweeper.config.names import file_name_fault
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import TrainingError


def files_of(path: Path, folder: str) -> Iterator[tuple[str, Path]]:
    """The files to log for a path: each with its name in the trial's run.

    Args:
        path: A file; or a folder, of which all files are logged below its name.
        folder: Of the run, empty for its top.

    Raises:
        TrainingError: If nothing is there.
    """
    if not path.exists():
        raise TrainingError(f"trial.log_artifact: {path}: there is no such file or folder")
    top = Path(folder, path.absolute().name)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield (top / file.relative_to(path)).as_posix(), file
    else:
        yield top.as_posix(), path


def keep_file(folder: Path, name: str, write: Callable[[Path], object]) -> str:
    """Write a file below a folder, so that it is what it was or what it is to be.

    Args:
        folder: Of what the trial logs.
        name: In there, and in the trial's run.
        write: Writes the file to a path.

    Returns:
        Its SHA-256.

    Raises:
        TrainingError: If it cannot have that name.
    """
    if fault := file_name_fault(name):
        raise TrainingError(f"{name!r} is no name for a logged file: {fault}")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable(Step.LOGGED_FILE), replace_file(path) as aside:
        write(aside)
        with aside.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def draw_figure(figure: Any, name: str) -> Callable[[Path], object]:
    """What writes a figure of matplotlib or plotly in the form that a name ends in.

    Raises:
        TrainingError: If it is no such figure, or the name says no form.
    """
    form = Path(name).suffix.removeprefix(".").lower()
    if not form:
        raise TrainingError(
            f"trial.log_figure: {name!r} must say by its end in which form the figure is to be "
            "kept, as roc.png or roc.html"
        )
    if hasattr(figure, "savefig"):
        return lambda path: figure.savefig(path, format=form)
    if not hasattr(figure, "write_html"):
        raise TrainingError(
            f"trial.log_figure: wanted is a figure of matplotlib or plotly, got a "
            f"{type(figure).__name__}"
        )
    if form == "html":
        return lambda path: figure.write_html(path)
    if form == "json":
        return lambda path: figure.write_json(path)
    return lambda path: figure.write_image(path, format=form)
