"""Functions of a notebook or a script, which no module has, so that their name finds none.

A study names one as ``__main__:name``. It lives in the process that runs the study, and in that
process's workers, who are handed it over their channel. It is written nowhere.
"""

import base64
import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from sweeper.errors import SpecError

#: The module of their references.
MODULE = "__main__"
#: What a function may look up and has no code of its own.
_PLAIN = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True)
class InMemory:
    """A function that no module has.

    Attributes:
        function: Itself, or a class.
        version: A digest of its code, and of what it uses that no module has either.
        modules: Names of those that it uses.
    """

    function: Callable[..., Any]
    version: str
    modules: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "InMemory":
        """The function as it is now."""
        code = _Code(function)
        return cls(function, code.digest.hexdigest(), tuple(sorted(code.modules)))


_known: dict[str, InMemory] = {}


def remember(functions: Mapping[str, InMemory]) -> None:
    """Let this process find functions by their references, from now on."""
    _known.update(functions)


def known(reference: str) -> InMemory | None:
    """The function of that reference, if this process has been given it."""
    return _known.get(reference)


def missing(reference: str) -> SpecError:
    """What to raise where a function is needed and the process has not been given it."""
    name = reference.partition(":")[2]
    return SpecError(
        f"{reference} was a function of a notebook or a script, and lives in that process alone; "
        f"put it into a module, as in mine.py, and name it `mine:{name}`"
    )


def reference_of(function: Callable[..., Any]) -> str:
    """``module:name`` of what a module has under that name, ``__main__:name`` of anything else.

    Raises:
        ValueError: If it has no name.
    """
    name = getattr(function, "__name__", "")
    if not str(name).isidentifier():
        raise ValueError(
            f"has no name to refer to it by; give it one with `def`, got {function!r}"
        )
    module = getattr(function, "__module__", None) or MODULE
    is_found = getattr(sys.modules.get(module), name, None) is function
    return f"{module if is_found else MODULE}:{name}"


def handed_over(functions: Mapping[str, InMemory]) -> str:
    """Functions by their references, as text for :func:`take_over`.

    Raises:
        SpecError: If one cannot be handed to another process.
    """
    if not functions:
        return ""
    import cloudpickle

    try:
        return base64.b64encode(cloudpickle.dumps(dict(functions))).decode()
    except Exception as exc:  # whatever an object makes of it
        reason = f"{type(exc).__name__}: {exc}".partition("\n")[0]
        raise SpecError(
            f"{', '.join(functions)}: cannot be handed to workers, which are other processes "
            f"({reason}); let the function make or load what it needs, or put it into a module"
        ) from exc


def take_over(text: str) -> None:
    """Remember what another process has handed over; only one that is trusted may."""
    if text:
        remember(pickle.loads(base64.b64decode(text)))


class _Code:
    """What a function runs and looks up, as far as no module has it; data do not count.

    Comments do not count either, nor where the code stands: a notebook that is run again from the
    top has the same.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.digest = hashlib.sha256()
        self.modules: set[str] = set()
        self._seen: set[int] = set()
        self._add("", function)

    def _add(self, name: str, value: Any) -> None:
        if isinstance(value, _PLAIN):
            self.digest.update(f"{name} {value!r} ".encode())
        elif id(value) not in self._seen:
            self._seen.add(id(value))
            self._add_object(value)

    def _add_object(self, value: Any) -> None:
        if module := _module_of(value):
            self.modules.add(module)
        elif isinstance(value, FunctionType):
            self._add_function(value)
        elif isinstance(value, type):
            self._add_all({**dict(enumerate(value.__bases__)), **_body(value)})
        elif isinstance(value, tuple):
            self._add_all(dict(enumerate(value)))
        elif isinstance(value, MethodType | staticmethod | classmethod):
            self._add("", value.__func__)
        elif isinstance(value, property):
            self._add_all({"get": value.fget, "set": value.fset})
        else:
            self._add("", type(value))

    def _add_all(self, values: Mapping[Any, Any]) -> None:
        for name, value in values.items():
            self._add(str(name), value)

    def _add_function(self, function: FunctionType) -> None:
        code = function.__code__
        self.digest.update(_render(code).encode())
        self._add_all(dict(enumerate(function.__defaults__ or ())))
        self._add_all(function.__kwdefaults__ or {})
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # nothing is in it yet
                self._add(name, cell.cell_contents)
        names = sorted({name for inner in _codes(code) for name in inner.co_names})
        around = function.__globals__
        self._add_all({name: around[name] for name in names if name in around})
        self._add("", getattr(function, "__wrapped__", None))


def _module_of(value: Any) -> str:
    """A module, or that which has a function or class under its name; empty if none has."""
    if isinstance(value, ModuleType):
        return value.__name__
    if not isinstance(value, FunctionType | type):
        return ""
    found = getattr(sys.modules.get(value.__module__), value.__name__, None)
    return value.__module__ if found is value and value.__module__ != MODULE else ""


def _body(kind: type) -> dict[str, Any]:
    """What a class statement has put there, and Python has not."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__") or isinstance(value, FunctionType)
    }


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of all functions in it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _render(code: CodeType) -> str:
    """Equal for equal code, in whatever process and on whatever line."""
    constants = [
        _render(value)
        if isinstance(value, CodeType)
        else sorted(map(repr, value))
        if isinstance(value, frozenset)  # whose own order is another one in each process
        else repr(value)
        for value in code.co_consts
    ]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))
