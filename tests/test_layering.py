"""A module imports only from rows above its own; the rows are drawn here and nowhere else."""

import ast
from pathlib import Path

import sweeper

PACKAGE = Path(sweeper.__file__).parent
ROWS = (
    ("errors", "filesystem", "seeding", "lock", "durable"),
    ("allocator", "cgroup", "forkserver", "ledger", "loading", "patience", "ticker"),
    ("reference", "config", "trial", "signals", "logs"),
    ("events", "paths", "failures", "depot"),
    ("spec",),
    ("space",),
    ("data", "models", "optim", "rng"),
    ("checkpoint", "learner"),
    ("training", "history", "advisory", "proxied"),
    ("sampling", "sight", "storage", "lease"),
    ("roster",),
    ("study",),
    ("asking", "ending", "result", "opening", "courier", "hold"),
    ("claim", "reclaim", "tracking", "board", "machine", "order", "stores"),
    ("shipping", "clearing", "preparation", "progress", "process", "begun", "tryout", "launchers"),
    ("crew", "sync"),
    ("worker", "agent", "status", "cancel", "rehearsal", "ui", "proxy", "template", "doctor"),
    ("cli",),
)
ROW_OF = {module: row for row, modules in enumerate(ROWS) for module in modules}


def imports(path: Path) -> set[str]:
    """Top-level parts of sweeper that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("sweeper.")}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_row() -> None:
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert parts == set(ROW_OF)


def test_imports_point_to_rows_above() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {target}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if (part := part_of(path)) in ROW_OF
        for target in imports(path) - {part}
        if ROW_OF[target] >= ROW_OF[part]
    ]
    assert upward == []


def test_no_import_circle_within_a_package() -> None:
    packages = ("spec", "data", "models", "tracking", "doctor", "launchers")
    for package in (*packages, "launchers/kubernetes"):
        edges = {
            path.stem: _siblings(path, package)
            for path in (PACKAGE / package).glob("*.py")
            if path.stem != "__init__"
        }
        while leaves := {name for name, targets in edges.items() if not targets & edges.keys()}:
            edges = {name: targets for name, targets in edges.items() if name not in leaves}
        assert edges == {}, f"a circle in {package}"


def _siblings(path: Path, package: str) -> set[str]:
    prefix = f"sweeper.{package.replace('/', '.')}."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.removeprefix(prefix) for name in modules if name.startswith(prefix)}
