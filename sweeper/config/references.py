"""``package.module:function``: how a study file names a user's own code."""

import difflib
import importlib
import logging
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeper.config import in_memory
from sweeper.errors import SpecError

log = logging.getLogger("sweeper")

#: The form of one.
REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*)")

#: Modules of a study's own that are imported now, each by the one before it.
_being_imported: list[str] = []


def is_reference(name: str) -> bool:
    """Whether ``name`` means a user's own code rather than something built in."""
    return ":" in name


def import_folders(study_file: Path) -> list[str]:
    """Where a study's own code is looked for first: beside the file, then where one works."""
    return list(dict.fromkeys([str(study_file.absolute().parent), str(Path.cwd())]))


def make_importable(folders: Iterable[str]) -> None:
    """Put folders on this process's ``sys.path``, before all installed packages.

    They come behind the standard library: a user's ``queue.py`` must not be what torch imports.
    """
    at = _end_of_standard_library()
    sys.path[at:at] = [folder for folder in folders if folder not in sys.path]


def _end_of_standard_library() -> int:
    folder = sysconfig.get_path("stdlib")
    own = {folder, sysconfig.get_path("platstdlib"), os.path.join(folder, "lib-dynload")}
    return max((i + 1 for i, entry in enumerate(sys.path) if entry in own), default=0)


def split_reference(reference: str) -> tuple[str, str]:
    """Module and name of a reference, which need not exist.

    Raises:
        SpecError: If the form is another one.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise SpecError(
            f"{reference!r} is not of the form package.module:function, e.g. my_models.nets:build"
        )
    return match["module"], match["name"]


def load_reference(reference: str) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names.

    Importable is what lies on ``sys.path``; see :func:`make_importable`. What ``__main__:name``
    names must have been handed to this process; see :mod:`sweeper.config.in_memory`.

    Raises:
        SpecError: If the form is another one, the module is not found or fails while it is
            imported, or it has no such callable.
    """
    module_name, name = split_reference(reference)
    if module_name == in_memory.MODULE:
        held = in_memory.known(reference)
        if held is None:
            raise in_memory.missing(reference)
        return held.function
    module = _import_module(module_name, name)
    try:
        target = getattr(module, name)
    except AttributeError as exc:
        raise SpecError(_no_such_name(module, name)) from exc
    if not callable(target):
        raise SpecError(
            f"{reference} is of type {type(target).__name__}, which cannot be called; "
            "name a function or a class"
        )
    return target  # type: ignore[no-any-return]


def refuse_within_import() -> None:
    """Raise SpecError if a study imports its own code now, which would begin a study then.

    The workers of that one would import it, too, and so on.
    """
    if _being_imported:
        raise _RunWithinImportError(
            f"{_being_imported[-1]} calls sweeper.run while a study imports it; put the call "
            'below an `if __name__ == "__main__":`'
        )


class _RunWithinImportError(SpecError):
    """A module would begin a study as it is imported."""


def _import_module(module: str, name: str) -> ModuleType:
    here = os.getcwd()
    _being_imported.append(module)
    try:
        with chdir(here):
            found = importlib.import_module(module)
            if os.getcwd() != here:
                log.warning(
                    "module %s changes the working directory while it is imported; it is put back",
                    module,
                )
        return found
    except _RunWithinImportError:
        raise
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise SpecError(_failed_import(module, name, exc)) from exc
        raise SpecError(
            f"cannot import {name!r} from {module!r}: there is no module {exc.name!r}; "
            f"looked in {', '.join(user_folders())} and the installed packages; put the code "
            "into one of these folders, or install its package"
        ) from exc
    except (Exception, SystemExit) as exc:  # a script without a __main__ guard may call sys.exit
        raise SpecError(_failed_import(module, name, exc)) from exc
    finally:
        _being_imported.pop()


def _failed_import(module: str, name: str, exc: BaseException) -> str:
    reason = str(exc).partition("\n")[0]
    return (
        f"cannot import {name!r} from {module!r}: the module fails while it is imported, with "
        f"{type(exc).__name__}: {reason}; `python -c 'import {module}'` shows where"
    )


def _no_such_name(module: ModuleType, name: str) -> str:
    public = [other for other in vars(module) if not other.startswith("_")]
    close = difflib.get_close_matches(name, public, n=1)
    way_out = (
        f"did you mean {close[0]!r}?" if close else f"it has {', '.join(public) or 'nothing'}"
    )
    file = getattr(module, "__file__", None) or "a built-in module"
    if module.__name__.partition(".")[0] in sys.stdlib_module_names:
        way_out = "the standard library has a module of that name, so give yours another one"
    return f"cannot import {name!r} from {module.__name__!r} ({file}): no such name; {way_out}"


def user_folders() -> list[str]:
    """Folders of ``sys.path`` that hold neither the standard library nor installed packages."""
    installed = [Path(path) for path in sysconfig.get_paths().values()]
    folders = [Path(entry).absolute() for entry in sys.path]
    return [
        str(folder)
        for folder in dict.fromkeys(folders)
        if folder.is_dir() and not any(folder.is_relative_to(path) for path in installed)
    ]
