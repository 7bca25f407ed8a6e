"""What a training script says of itself: its options and what it prints. It is never run."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import SpecError

#: Calls whose only text is the value, such as ``Path("out")``.
_WRAPPERS = ("Path", "PurePath", "str", "int", "float")
#: Ahead of a value in a line of output: its name, and what parts the two.
_NAMED = re.compile(r"([A-Za-z][\w/.@-]*(?: [a-z][\w/.@-]*)?)(\s*[=:]\s*|\s+)$")


@dataclass(frozen=True)
class Option:
    """One ``add_argument``.

    Attributes:
        flag: As it is typed, ``--batch-size``; empty of a positional argument.
        name: Of its value in the script, ``batch_size``.
        default: A number or text; None if it has none, or none that is plain.
        choices: Values that it may have; empty if it says none.
        is_required: Whether the script refuses to run without it.
        takes_value: Whether one value follows the flag.
    """

    flag: str
    name: str
    default: float | int | str | None
    choices: tuple[float | int | str, ...]
    is_required: bool
    takes_value: bool


@dataclass(frozen=True)
class Printed:
    """A value in a line that the script prints.

    Attributes:
        name: That a metric could have, ``val_loss``.
        ahead: What stands ahead of the value in the line, its name included.
    """

    name: str
    ahead: str


@dataclass(frozen=True)
class Script:
    """A training script.

    Attributes:
        path: As the user has it.
        options: In its order.
        json_keys: Of the object that it prints as a line of JSON; empty if there is none.
        printed: Values in the line that tells most of them.
        is_distributed: Whether it joins other processes of its own.
    """

    path: Path
    options: Sequence[Option]
    json_keys: Sequence[str]
    printed: Sequence[Printed]
    is_distributed: bool


def read_script(path: Path) -> Script:
    """Read a script.

    Raises:
        SpecError: If it cannot be read, is no Python, or has no option of argparse.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except OSError as exc:
        raise SpecError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (SyntaxError, ValueError) as exc:
        line = getattr(exc, "lineno", None) or 1
        raise SpecError(f"{path}:{line}: is no Python: {getattr(exc, 'msg', exc)}") from exc
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    options = [option for call in calls if (option := _option(call))]
    if not options:
        raise SpecError(
            f"{path}: has no add_argument of argparse; name its options by hand: "
            "sweeper init --help"
        )
    prints = [call for call in calls if _called(call) == "print"]
    return Script(
        path,
        options,
        json_keys=next((keys for call in prints if (keys := _json_keys(call))), ()),
        printed=max((_printed(call) for call in prints), key=len, default=()),
        is_distributed=any(_called(call) == "init_process_group" for call in calls),
    )


def _called(call: ast.Call) -> str:
    """The last part of the called function's name."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _option(call: ast.Call) -> Option | None:
    words = [_literal(word) for word in call.args]
    if (
        _called(call) != "add_argument"
        or not words
        or not all(isinstance(word, str) for word in words)
    ):
        return None
    named = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    flags = [word for word in words if word.startswith("-")]
    flag = next((word for word in flags if word.startswith("--")), flags[0] if flags else "")
    name = _literal(named.get("dest")) or (flag or words[0]).lstrip("-").replace("-", "_")
    default = _literal(named.get("default"))
    action = ast.unparse(named["action"]).strip("'") if "action" in named else "store"
    return Option(
        flag,
        str(name),
        default if _is_plain(default) else None,
        tuple(choice for choice in _choices(named.get("choices")) if _is_plain(choice)),
        is_required=not flag or _literal(named.get("required")) is True,
        takes_value=action == "store" and "nargs" not in named,
    )


def _literal(node: ast.expr | None) -> Any:
    """The value of a constant, or of one in a call such as ``Path("out")``; None of all else."""
    if isinstance(node, ast.Call) and _called(node) in _WRAPPERS and len(node.args) == 1:
        return _literal(node.args[0])
    try:
        return ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError):
        return None


def _choices(node: ast.expr | None) -> Sequence[Any]:
    found = _literal(node)
    return found if isinstance(found, list | tuple) else ()


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _json_keys(call: ast.Call) -> Sequence[str]:
    """The keys of ``print(json.dumps({...}))``, if ``epoch`` is among them."""
    for inner in ast.walk(call):
        if isinstance(inner, ast.Call) and _called(inner) == "dumps" and inner.args:
            shown = inner.args[0]
            if isinstance(shown, ast.Dict):
                keys = [str(key.value) for key in shown.keys if isinstance(key, ast.Constant)]
            elif isinstance(shown, ast.Call) and _called(shown) == "dict":
                keys = [keyword.arg for keyword in shown.keywords if keyword.arg]
            else:
                continue
            if "epoch" in keys and len(keys) > 1:
                return keys
    return ()


def _printed(call: ast.Call) -> Sequence[Printed]:
    """Values of formatted texts; none if they hold no metric."""
    found = [printed for text in call.args for printed in _values(text)]
    return found if any(printed.name != "epoch" for printed in found) else ()


def _values(text: ast.expr) -> Iterator[Printed]:
    """Those of a formatted text, each with the words ahead of it."""
    ahead = ""
    for part in text.values if isinstance(text, ast.JoinedStr) else ():
        if isinstance(part, ast.Constant):
            ahead += str(part.value)
            continue
        found = _NAMED.search(ahead)
        if found and _is_measured(part):
            yield Printed(found[1].lower().replace(" ", "_"), found[0])
        ahead = ""


def _is_measured(part: ast.expr) -> bool:
    """Whether it is shown with a fixed number of digits, or counts epochs."""
    assert isinstance(part, ast.FormattedValue)
    form = ast.unparse(part.format_spec) if part.format_spec else ""
    return bool(re.search(r"\.\d+[efg%]?'", form)) or "epoch" in ast.unparse(part.value).lower()
