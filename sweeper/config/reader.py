"""Study file text -> :class:`StudySpec`, or every problem of it at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.config.cluster import ClusterSpec
from sweeper.config.metrics import LOSSES, TASK_METRICS
from sweeper.config.names import study_name_fault
from sweeper.config.objective import read_objective
from sweeper.config.overrides import COMMAND_LINE, apply_overrides
from sweeper.config.problems import Origin, Problems, shown
from sweeper.config.ranges import Section
from sweeper.config.rules import check_rules
from sweeper.config.scalars import came, check_keys, read_constant, read_fields
from sweeper.config.sections import SectionReader
from sweeper.config.settings import Scalar
from sweeper.config.study import (
    SEARCHABLE,
    BudgetSpec,
    PrunerSpec,
    RunSpec,
    SamplerSpec,
    StudySpec,
    TrackingSpec,
    has_own_training,
)
from sweeper.config.study_files import load_study_file, read_text
from sweeper.config.urls import holds_password
from sweeper.config.warm_start import read_warm_start
from sweeper.config.yaml_source import Located, load_source
from sweeper.trial import Objective

KEYS = (
    "name", "objective", "budget", "seed", "sampler", "pruner", *SEARCHABLE,
    "forbid", "enqueue", "warm_start", "run", "tracking", "cluster", "storage",
)  # fmt: skip
_CHOICES = re.compile(r"\.choices(?=\.|$)")


def load_study(
    path: Path | str, overrides: Sequence[str] = (), *, origin: Origin = COMMAND_LINE
) -> StudySpec:
    """Read and validate a study file. Imports nothing that takes time.

    Args:
        path: Of the file.
        overrides: ``KEY=VALUE`` and ``~KEY``, laid over it, see
            :func:`~sweeper.config.overrides.apply_overrides`.
        origin: Of these.

    Raises:
        SpecError: With every problem, one a line, each with file and line, or the override.
    """
    path, problems = Path(path), Problems()
    top = load_study_file(path, problems)
    if top is None:
        problems.raise_if_any()
    assert top is not None
    top = apply_overrides(top, overrides, problems, origin)
    return replace(read_study(top, path, problems), overrides=tuple(overrides))


def load_resolved(path: Path) -> StudySpec:
    """Read and validate a resolved file, which builds on no other.

    It may come from anybody, with a folder, and must not have files of this machine read.

    Raises:
        SpecError: As :func:`load_study`.
    """
    return parse_study(read_text(path), path)


def parse_study(text: str, path: Path) -> StudySpec:
    """As :func:`load_study`, for a text that is already at hand and builds on no file."""
    problems = Problems()
    top = load_source(text, str(path), problems)
    if top is None:
        problems.raise_if_any()
    assert top is not None
    return read_study(top, path, problems)


def read_study(top: Located, path: Path, problems: Problems) -> StudySpec:
    """A study from its values.

    Args:
        top: All of them.
        path: Of the study file; the user's own code is looked for beside it.
        problems: What is wrong with them already.

    Raises:
        SpecError: With every problem.
    """
    spec = _StudyReader(top, path, problems).read()
    check_rules(spec, problems)
    problems.raise_if_any()
    return spec


class _StudyReader:
    def __init__(self, top: Located, path: Path, problems: Problems) -> None:
        self._top = top
        self._path = path
        self._problems = problems
        train = top.value.get("train")
        is_mapping = train is not None and isinstance(train.value, dict)
        self._has_own_training = is_mapping and has_own_training(train.value)

    def read(self) -> StudySpec:
        """All sections, with stand-ins where something is wrong, so that every problem is met."""
        top = self._top.value
        check_keys(self._top, KEYS, self._problems)
        objective = self._objective()
        return StudySpec(
            path=self._path,
            name=self._name(),
            objective=objective,
            budget=self._fields("budget", BudgetSpec),
            seed=self._constant("seed", int, 0),
            sampler=self._fields("sampler", SamplerSpec),
            pruner=self._pruner(len(objective.metrics)),
            sections=self._sections(),
            forbid=self._settings(top.get("forbid")),
            enqueue=self._settings(top.get("enqueue")),
            warm_start=read_warm_start(top.get("warm_start"), self._problems),
            run=self._fields("run", RunSpec),
            tracking=self._fields("tracking", TrackingSpec),
            cluster=self._fields("cluster", ClusterSpec),
            storage=self._constant("storage", str, "auto"),
            origins={_dotted_name(item): item.origin for item in self._top.walk()},
        )

    def _objective(self) -> Objective:
        task = self._word("data", "task")
        measured = TASK_METRICS.get(task) or TASK_METRICS["classification"]
        return read_objective(
            self._top.value.get("objective", Located({}, self._top.origin, "objective")),
            self._problems,
            default=next(iter(measured)),
            losses=() if self._has_own_training else LOSSES,
            is_free=self._has_own_training or self._word("train", "metrics") is not None,
        )

    def _word(self, section: str, key: str) -> Any:
        """A constant before its section is read."""
        item = self._top.value.get(section)
        found = item.value.get(key) if item and isinstance(item.value, dict) else None
        return found.value if found and not isinstance(found.value, dict | list) else None

    def _constant(self, key: str, declared: Any, default: Any) -> Any:
        item = self._top.value.get(key)
        value = read_constant(item, declared, self._problems) if item else None
        return default if value is None else value

    def _fields(self, key: str, declared: type[Any]) -> Any:
        item = self._top.value.get(key)
        return read_fields(item, declared, self._problems) if item else declared()

    def _name(self) -> str:
        item = self._top.value.get("name")
        name: str = self._constant("name", str, self._path.stem)
        if not self._problems.concern("name") and (fault := study_name_fault(name)):
            way_out = "" if item else "; give the file such a name, or set `name:` or `--name`"
            message = f"{fault}, got {shown(name)}{way_out}"
            self._problems.add((item or self._top).origin, "name", message)
        return name

    def _pruner(self, n_metrics: int) -> PrunerSpec:
        if "pruner" not in self._top.value:
            return PrunerSpec(name="none" if n_metrics > 1 else "asha")
        pruner: PrunerSpec = self._fields("pruner", PrunerSpec)
        return pruner

    def _sections(self) -> dict[str, Section]:
        reader = SectionReader(self._problems)
        sections: dict[str, Section] = {}
        for key in SEARCHABLE:
            item = self._top.value.get(key)
            if item is None and key == "train":
                sections[key] = {}
            elif item is not None:
                sections[key] = self._section(reader, key, item)
            elif not self._has_own_training:
                message = (
                    f"is required, unless train.function or train.command brings its own {key}"
                )
                self._problems.add(self._top.origin, key, message)
        return sections

    def _section(self, reader: SectionReader, key: str, item: Located) -> Section:
        if not isinstance(item.value, dict | None):
            self._problems.add(item.origin, key, f"must be a mapping of keys, got {came(item)}")
            return {}
        for found in item.walk():
            if isinstance(found.value, str) and holds_password(found.value):
                message = (
                    "a password here would be written to MLflow and to files; let your code read "
                    "it from an environment variable"
                )
                self._problems.add(found.origin, _dotted_name(found), message)
        section: Section = getattr(reader, key)(Located(item.value or {}, item.origin, key))
        return section

    def _settings(self, node: Located | None) -> tuple[Mapping[str, Scalar], ...]:
        if node is None or node.value is None:
            return ()
        settings = []
        for item in node.value if isinstance(node.value, list) else [node]:
            if item is node or not isinstance(item.value, dict) or not item.value:
                message = "must be a list of mappings such as `- {train.optimizer: sgd}`"
                self._problems.blame(item, message)
                continue
            settings.append(
                {name: read_constant(value, Any, self._problems) for name, value in item.items()}
            )
        return tuple(settings)


def _dotted_name(item: Located) -> str:
    """A branch is named without the word ``choices``."""
    return _CHOICES.sub("", item.path)
