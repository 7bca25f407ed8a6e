"""Records of files, storages and object stores against the types that declare them.

Whoever may write there may have written anything. So what is read is checked where it enters: the
types, the bounds that a type has beside, and that there is no other key.
"""

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Declared = TypeVar("Declared")


def read_record(declared: type[Declared], record: object) -> Declared:
    """A value of the declared type.

    Args:
        declared: A dataclass or NamedTuple, whose annotations may hold further ones.
        record: As JSON has it.

    Raises:
        ValueError: If it is none, with the first fault.
    """
    try:
        adapter = _adapter(declared)  # type: ignore[arg-type]
        value: Declared = adapter.validate_python(record, extra="forbid")
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, _named(declared, fault["loc"])))
        rule = fault["msg"].removeprefix("Value error, ")
        raise ValueError(f"{place}: {rule}" if place else rule) from exc
    return value


def _named(declared: type[Any], path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where in a record that is: values of a NamedTuple by their names, which a list lacks."""
    names = getattr(declared, "_fields", ())
    if path and isinstance(path[0], int) and path[0] < len(names):
        return names[path[0]], *path[1:]
    return path


@cache
def _adapter(declared: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(declared)
