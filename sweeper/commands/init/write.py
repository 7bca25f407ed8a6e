"""The new files."""

import re
from pathlib import Path

from sweeper.commands.init.template import render_template
from sweeper.config.names import study_name_fault
from sweeper.errors import SpecError


def write_study(path: Path, *, data: str | None = None, source: str | None = None) -> None:
    """Write a study to a new file; without data and source one that runs at once.

    Args:
        path: The file.
        data: A file of rows, a folder of files, or a kind of data, which it is of.
        source: A script of the user's own that it sweeps, or ``lightning`` or ``transformers``
            for a module beside it that trains with these.

    Raises:
        SpecError: If no study can be called as the file, a file exists already or cannot be
            written, or the script cannot be read.
        DataError: If the data cannot be read, or nothing could be learned from them.
    """
    if fault := study_name_fault(path.stem):
        raise SpecError(f"{path}: a study has the name of its file, which {fault}; take another")
    texts = _render(path, data, source)
    for place in texts:
        if place.exists():
            raise SpecError(f"{place}: exists already; name another file, or remove it")
    for place, text in texts.items():
        _write(place, text)


def _render(path: Path, data: str | None, source: str | None) -> dict[Path, str]:
    """The texts of all files."""
    if source is not None:
        return _render_own_code(path, source)
    if data is None:
        return {path: render_template(None)}
    from sweeper.commands.init.propose import propose  # pyarrow

    return {path: render_template(propose(data))}


def _render_own_code(path: Path, source: str) -> dict[Path, str]:
    from sweeper.commands.init.script import read_script
    from sweeper.commands.init.script_study import render_script_study
    from sweeper.commands.init.trainer_study import TRAINERS, render_trainer_study

    for trainer in TRAINERS:
        if source == trainer:
            module = path.with_name(_module_name(path.stem) + ".py")
            study, code = render_trainer_study(trainer, module.stem)
            return {path: study, module: code}
    return {path: render_script_study(read_script(Path(source)))}


def _module_name(stem: str) -> str:
    """One that Python can import, and that no package is likely to have."""
    words = re.sub(r"\W", "_", stem)
    return f"_{words}_training" if words[0].isdigit() else f"{words}_training"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise SpecError(f"{path}: cannot be written: {exc.strerror}") from exc
