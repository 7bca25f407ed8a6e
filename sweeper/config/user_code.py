"""A study's own code: the files that it runs, and which version of them."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from itertools import pairwise
from pathlib import Path

from sweeper.config.command import split_command
from sweeper.config.in_memory import MODULE, InMemory, known
from sweeper.config.ranges import options_of
from sweeper.config.references import import_folders, is_reference, split_reference
from sweeper.config.study import StudySpec

#: Keys that may name a function of the user's own.
PLACES = (
    "data.name",
    "data.transform",
    "data.validation_transform",
    "model.architecture",
    "train.function",
    "train.loss",
    "train.metrics",
    "train.optimizer",
    "train.schedule",
)
#: A file may name what is in them, such as ``torch.optim:NAdam``; each run has their versions.
_LIBRARIES = ("torch", "torchvision")
_NOT_OWN = (*_LIBRARIES, MODULE)
#: Files in ``train.command`` that are code.
_SCRIPTS = (".py", ".sh")
#: Of a digest, in hex digits.
_DIGITS = 12


def references(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Every ``package.module:function`` of a study file, with the dotted key that names it."""
    for place in PLACES:
        section, key = place.split(".")
        for name in options_of(spec.sections.get(section, {}).get(key)):
            if is_reference(str(name)):
                yield place, str(name)


def functions_in_memory(spec: StudySpec) -> dict[str, InMemory]:
    """Those that no module has, by their references, as far as this process was given them."""
    found = {reference: known(reference) for _, reference in references(spec)}
    return {reference: function for reference, function in found.items() if function is not None}


def code_digest(spec: StudySpec) -> str:
    """What tells versions of a study's own code apart; empty if the file names none.

    It is of the modules and scripts that the file names, and of what they import as far as that
    lies beside the file or the script, in the working folder, or in the package of such a module;
    and of functions that no module has. Nothing is imported for it, so an import that stands in a
    function counts too, and one by a computed name does not.
    """
    files, in_memory = code_files(spec), functions_in_memory(spec)
    digest = hashlib.sha256()
    for module, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{module} {len(content)} ".encode() + content)
    for reference, function in sorted(in_memory.items()):
        digest.update(f"{reference} {function.version} ".encode())
    return digest.hexdigest()[:_DIGITS] if files or in_memory else ""


def code_files(spec: StudySpec) -> dict[str, Path]:
    """Those modules by name, scripts by path, and the file of each."""
    words = _command_words(spec)
    scripts = [Path(word) for word in words if word.endswith(_SCRIPTS) and Path(word).is_file()]
    modules = [split_reference(reference)[0] for _, reference in references(spec)]
    own = [module for module in modules if module.partition(".")[0] not in _NOT_OWN]
    used = [module for held in functions_in_memory(spec).values() for module in held.modules]
    run = [module for option, module in pairwise(words) if option == "-m"]
    folders = [*(str(script.absolute().parent) for script in scripts), *import_folders(spec.path)]
    finder = _Finder(folders, own, [*used, *run])
    for script in scripts:
        finder.add_script(script)
    return finder.files


def _command_words(spec: StudySpec) -> list[str]:
    command = spec.sections["train"].get("command")
    return [] if command is None else split_command(command)


class _Finder:
    """Finds modules by name as Python does, and those that their source imports.

    Args:
        folders: That own code lies in.
        modules: To begin with; the packages that they lie in are own code wherever they are.
        used: Further ones to begin with, as far as they lie in the folders.

    Attributes:
        files: Module, or path of a script -> its file.
    """

    def __init__(self, folders: list[str], modules: list[str], used: list[str]) -> None:
        self.files: dict[str, Path] = {}
        self._folders = folders
        self._packages = {module.partition(".")[0] for module in modules}
        self._specs: dict[str, ModuleSpec | None] = {}
        for module in (*modules, *used):
            self._add(module)

    def add_script(self, path: Path) -> None:
        """A file that is run, and what it imports."""
        self.files[str(path)] = path
        self._add_imports(path, None)

    def _add(self, module: str) -> None:
        """A module, the packages around it, and what they import."""
        words = module.split(".")
        for name in (".".join(words[:end]) for end in range(1, len(words) + 1)):
            if name not in self._specs:
                found = self._specs[name] = self._find(name)
                if found is not None and found.has_location and found.origin is not None:
                    self.files[name] = Path(found.origin)
                    self._add_imports(self.files[name], found.parent)

    def _find(self, name: str) -> ModuleSpec | None:
        package, _, _ = name.rpartition(".")
        if package:
            around = self._specs[package]
            inside = around.submodule_search_locations if around is not None else None
            return PathFinder.find_spec(name, inside) if inside is not None else None
        found = PathFinder.find_spec(name, self._folders)
        return find_spec(name) if found is None and name in self._packages else found

    def _add_imports(self, path: Path, package: str | None) -> None:
        if path.suffix != ".py":
            return
        for name in _imports(path.read_bytes(), package):
            self._add(name)


@cache
def _imports(source: bytes, package: str | None) -> tuple[str, ...]:
    """Names of what source imports, which need not all be modules; none if it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # whoever imports it tells
        return ()
    return tuple(_imported(tree, package))


def _imported(tree: ast.Module, package: str | None) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            try:
                module = resolve_name(name, package)
            except ImportError:  # beyond the outermost package; whoever imports it tells
                continue
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
