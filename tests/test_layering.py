"""A module imports only from rows above its own; the rows are drawn here and nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import sweeper

PACKAGE = Path(sweeper.__file__).parent
#: Packages of one row never import each other; the modules of the first one may.
ROWS = (
    ("errors", "trial", "paths", "durable", "locks", "outage", "timing", "text"),
    ("config",),
    ("events", "data", "models"),
    ("training", "study"),
    ("tracking", "launchers"),
    ("workers",),
    ("commands",),
    ("__init__", "cli"),
    ("__main__",),
)
ROW_OF = {part: row for row, parts in enumerate(ROWS) for part in parts}


def module_of(path: Path) -> str:
    """Dotted name below ``sweeper``; of a package, that of the package."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILE_OF = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imported_by(module: str) -> Iterator[str]:
    """Modules of sweeper that a module imports, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(FILE_OF[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "sweeper" or name.startswith("sweeper."):
                yield _nearest(name.removeprefix("sweeper").removeprefix("."))


def roots_imported_by(module: str) -> set[str]:
    """Packages, of whomever, that a module imports, also inside functions and for types alone."""
    nodes = list(ast.walk(ast.parse(FILE_OF[module].read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def _nearest(name: str) -> str:
    while name not in FILE_OF and "." in name:
        name = name.rpartition(".")[0]
    return name if name in FILE_OF else "__init__"


EDGES = {module: set(imported_by(module)) - {module} for module in FILE_OF}


def part_of(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_a_row() -> None:
    assert {part_of(module) for module in FILE_OF} <= set(ROW_OF)


def test_imports_point_to_rows_above() -> None:
    upward = {
        (module, target)
        for module, targets in EDGES.items()
        for target in targets
        if (part := part_of(module)) != (aim := part_of(target))
        and ROW_OF[aim] >= ROW_OF[part]
        and not ROW_OF[aim] == ROW_OF[part] == 0
    }
    assert upward == set()


def test_storage_knows_nothing_else_of_the_study() -> None:
    beyond = {
        (module, target)
        for module, targets in EDGES.items()
        for target in targets
        if module.startswith("study.storage")
        and target.startswith("study")
        and not target.startswith("study.storage")
    }
    assert beyond == set()


def test_mlflow_is_imported_by_tracking_alone() -> None:
    importing = {module for module in FILE_OF if "mlflow" in roots_imported_by(module)}
    assert importing
    assert {part_of(module) for module in importing} == {"tracking"}


def test_no_import_circle() -> None:
    left = EDGES
    while leaves := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in leaves}
    assert left == {}


def test_to_import_a_package_takes_no_time() -> None:
    packages = [name for name, path in FILE_OF.items() if path.name == "__init__.py"]
    importing = {name: EDGES[name] for name in packages if name != "__init__" and EDGES[name]}
    assert importing == {}
