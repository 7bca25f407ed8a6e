import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import in_memory
from sweeper.config.in_memory import InMemory, handed_over, reference_of, remember, take_over
from sweeper.config.references import load_reference
from sweeper.errors import SpecError


def compiled(source: str, **around: Any) -> Callable[..., Any]:
    """The function ``f`` of a notebook with that cell."""
    space = {"__name__": "__main__", **around}
    exec(source, space)
    found: Callable[..., Any] = space["f"]
    return found


def version(source: str, **around: Any) -> str:
    return InMemory.of(compiled(source, **around)).version


@pytest.fixture(autouse=True)
def _none_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "_known", {})


def test_a_function_is_found_by_its_reference_once_the_process_has_been_given_it() -> None:
    function = compiled("def f(): return 7")
    assert reference_of(function) == "__main__:f"
    with pytest.raises(SpecError) as caught:
        load_reference("__main__:f")
    assert str(caught.value) == (
        "__main__:f was a function of a notebook or a script, and lives in that process alone; "
        "put it into a module, as in mine.py, and name it `mine:f`"
    )
    remember({"__main__:f": InMemory.of(function)})
    assert load_reference("__main__:f") is function


def test_what_a_module_has_is_named_by_that_and_nothing_else_by_its_name() -> None:
    assert reference_of(subprocess.run) == "subprocess:run"

    def run() -> None:
        pass

    run.__module__ = "subprocess"
    assert reference_of(run) == "__main__:run"
    with pytest.raises(ValueError, match="has no name to refer to it by"):
        reference_of(lambda: None)


def test_another_process_runs_a_function_with_what_it_uses(tmp_path: Path) -> None:
    source = """
class Scale:
    def __call__(self, x): return SHIFT + factor * x

SHIFT = 1
def f(x): return Scale()(x)
"""
    text = handed_over({"__main__:f": InMemory.of(compiled(source, factor=3))})
    code = (
        "import sys; from sweeper.config.in_memory import take_over; "
        "from sweeper.config.references import load_reference; "
        "take_over(sys.stdin.read()); print(load_reference('__main__:f')(2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout == "7\n"


def test_what_no_process_can_be_handed_is_told() -> None:
    lock = __import__("threading").Lock()
    held = InMemory.of(compiled("def f(): return lock", lock=lock))
    with pytest.raises(SpecError, match=r"^__main__:f: cannot be handed to workers, .*lock"):
        handed_over({"__main__:f": held})


def test_nothing_is_handed_over_where_there_is_nothing() -> None:
    assert handed_over({}) == ""
    take_over("")
    assert in_memory._known == {}


F = "def f(x, y=1): return g(x) + N + z(x)\n"
G = "def g(x):\n    return x in {'a', 'b'}\n"
Z = "class Z:\n    width = 3\n    def __call__(self, x): return x\nz = Z()\n"
N = "N = 2\n"


@pytest.mark.parametrize(
    "changed",
    [
        F.replace("y=1", "y=2") + G + Z + N,
        F.replace("N +", "2 * N +") + G + Z + N,
        F + G.replace("'b'", "'c'") + Z + N,
        F + G + Z.replace("3", "4") + N,
        F + G + Z.replace("return x", "return -x") + N,
        F + G + Z + N.replace("2", "3"),
        "import functools\n" + F + G + Z + N + "f = functools.wraps(f)(lambda *a: -f(*a))\n",
    ],
)
def test_the_version_changes_with_all_that_the_function_runs(changed: str) -> None:
    assert version(changed) != version(F + G + Z + N)


@pytest.mark.parametrize(
    "same",
    [
        "\n\n" + N + G + Z + F,
        F + G.replace("return", "# as ever\n    return") + Z + N,
        F + G + Z + N + "other = 5\n",
    ],
)
def test_the_version_stays_with_comments_lines_and_other_cells(same: str) -> None:
    assert version(same) == version(F + G + Z + N)


def test_the_version_is_the_same_in_every_process() -> None:
    code = f"""
from sweeper.config.in_memory import InMemory
exec({F + G + Z + N!r})
print(InMemory.of(f).version)
"""
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert done[0] == done[1]


def test_modules_that_it_uses_are_known() -> None:
    source = "import json\nfrom pathlib import Path\ndef f(x): return json.dumps(Path(x), X)\n"
    held = InMemory.of(compiled(source, X=SpecError))
    assert held.modules == ("json", "pathlib", "sweeper.errors")
