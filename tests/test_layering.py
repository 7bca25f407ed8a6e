"""A module imports only from rows above its own; the rows are drawn here and nowhere else."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import sweeper

PACKAGE = Path(sweeper.__file__).parent
#: Packages of one row never import each other; the modules of the first one may.
ROWS = (
    ("errors", "trial", "paths", "durable", "locks", "outage", "timing", "text", "imports"),
    ("config",),
    ("events", "mlflow_run", "data", "models"),
    ("training", "study"),
    ("tracking", "launchers"),
    ("workers",),
    ("commands",),
    ("__init__", "arguments", "integrations"),
    ("cli",),
    ("__main__",),
)
#: The same inside ``study``: its modules, and its two packages as one part each.
STUDY_ROWS = (
    ("storage",),
    ("attributes",),
    ("leases", "presence", "pruners", "logged"),
    ("trial_cache", "code_versions", "lane_counts"),
    ("samplers", "agents", "failures", "best", "figures", "time_left"),
    ("warm_start",),
    ("queue", "sampler_in_use", "pruner_in_use", "source_trials"),
    ("study",),
    ("create", "ownership", "tell", "trial_rows", "recorded_trial", "selection", "dashboard"),
    ("drawing", "find", "reports", "result"),
    ("running_trial",),
    ("conclude", "source_study"),
    ("recovery",),
)
#: The same inside ``data``: its modules, and each of its packages as one part.
DATA_ROWS = (
    ("channels", "content", "fingerprint", "lengths", "order", "preprocessing",
     "scale", "targets"),
    ("batches",),
    ("labelled", "partition"),
    ("rows",),
    ("audio", "images", "own", "tables", "texts"),
    ("built_in",),
    ("kinds",),
    ("cache",),
    ("dataset",),
)  # fmt: skip
#: Library -> what may import it, packages and modules; whoever else needs it asks them.
LIBRARIES = {
    "optuna": {"study"},
    "optuna_dashboard": {"study"},
    "plotly": {"study.figures"},
    "scipy": {"study", "data"},
    "sqlalchemy": {"study", "tracking"},
    "grpc": {"study"},
    "fsspec": {"study"},
    "mlflow": {"tracking"},
    "alembic": {"tracking"},
    "matplotlib": {"tracking"},
    "pydantic": {"config"},
    "yaml": {"config", "launchers"},
    "torch": {
        "data", "models", "training", "tracking", "workers", "integrations",
        "commands.check.model", "commands.check.precision", "commands.check.trials",
    },
    "lightning": {"integrations"},
    "transformers": {"integrations"},
    "pyarrow": {"data"},
    "PIL": {"data"},
    "torchvision": {"data", "models", "workers"},
    "cloudpickle": {"config.in_memory"},
    "rich": {"commands"},
    "IPython": {"commands.screen"},
    "typer": {"arguments", "cli"},
    "starlette": {"commands", "tracking"},
    "uvicorn": {"commands"},
}  # fmt: skip


def module_of(path: Path) -> str:
    """Dotted name below ``sweeper``; of a package, that of the package."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILE_OF = {module_of(path): path for path in PACKAGE.rglob("*.py")}


@cache
def imports() -> dict[str, set[str]]:
    """Dotted names that each module imports, also inside functions and for types alone."""
    return {module: set(_imported_by(module)) for module in FILE_OF}


def _imported_by(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(FILE_OF[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nearest(name: str) -> str:
    """The module of sweeper that a dotted name below it is in."""
    while name not in FILE_OF and "." in name:
        name = name.rpartition(".")[0]
    return name if name in FILE_OF else "__init__"


@cache
def edges() -> dict[str, set[str]]:
    """The other modules of sweeper that each module imports."""
    return {
        module: {
            _nearest(name.removeprefix("sweeper").removeprefix("."))
            for name in names
            if name == "sweeper" or name.startswith("sweeper.")
        }
        - {module}
        for module, names in imports().items()
    }


def part_of(module: str, package: str = "") -> str:
    """The part of a package, of sweeper itself if none is named, that a module belongs to."""
    return module.removeprefix(f"{package}.").partition(".")[0]


def upward(rows: Sequence[Sequence[str]], package: str = "") -> set[tuple[str, str]]:
    """Imports from one part of a package to another that is not in a row above."""
    row_of = {part: row for row, parts in enumerate(rows) for part in parts}
    inside = [module for module in FILE_OF if module.startswith(f"{package}." if package else "")]
    assert {part_of(module, package) for module in inside} == set(row_of), "one has no row"
    return {
        (module, target)
        for module in inside
        for target in edges()[module].intersection(inside)
        if (part := part_of(module, package)) != (aim := part_of(target, package))
        and row_of[aim] >= row_of[part]
    }


def test_imports_point_to_rows_above() -> None:
    beside = {pair for pair in upward(ROWS) if set(map(part_of, pair)) <= set(ROWS[0])}
    assert upward(ROWS) - beside == set()


def test_imports_inside_the_study_point_to_rows_above() -> None:
    assert upward(STUDY_ROWS, "study") == set()


def test_imports_inside_the_data_point_to_rows_above() -> None:
    assert upward(DATA_ROWS, "data") == set()


def test_a_library_is_imported_where_it_belongs() -> None:
    importing = {
        (module, library)
        for module, names in imports().items()
        for library in {name.partition(".")[0] for name in names} & set(LIBRARIES)
    }
    assert {library for _, library in importing} == set(LIBRARIES)
    assert {
        (module, library)
        for module, library in importing
        if not {module, part_of(module)} & LIBRARIES[library]
    } == set()


def test_no_import_circle() -> None:
    left = edges()
    while leaves := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in leaves}
    assert left == {}


def test_to_import_a_package_takes_no_time() -> None:
    """The public ones import inside functions, and for types alone."""
    packages = [name for name, path in FILE_OF.items() if path.name == "__init__.py"]
    inner = [name for name in packages if name not in ("__init__", "integrations")]
    assert {name: edges()[name] for name in inner if edges()[name]} == {}
