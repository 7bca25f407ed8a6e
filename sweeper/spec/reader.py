"""Study file text -> :class:`StudySpec`, or every problem of it at once."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from sweeper.config import METRICS, Scalar
from sweeper.errors import SpecError
from sweeper.spec.leaf import read_fields, read_leaf
from sweeper.spec.problem import Problems, did_you_mean
from sweeper.spec.ranges import Section
from sweeper.spec.rules import check_rules
from sweeper.spec.section import SectionReader
from sweeper.spec.source import Located, load_source
from sweeper.spec.study import (
    SEARCHABLE,
    BudgetSpec,
    PrunerSpec,
    RunSpec,
    SamplerSpec,
    StudySpec,
    TrackingSpec,
)
from sweeper.trial import Direction, Objective

KEYS = (
    "name", "objective", "budget", "seed", "sampler", "pruner", *SEARCHABLE,
    "forbid", "enqueue", "run", "tracking", "storage",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NATURAL: Mapping[str, Direction] = {
    "train_loss": "minimize", "val_loss": "minimize",
    "val_accuracy": "maximize", "epoch_seconds": "minimize",
}  # fmt: skip


def load_study(path: Path | str) -> StudySpec:
    """Read and validate a study file. Imports nothing that takes time.

    Raises:
        SpecError: With every problem of the file, one a line, each with file and line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise SpecError(
            f"{path}: cannot read the study file: {reason}; `sweeper init {path}` writes a new one"
        ) from exc
    return parse_study(text, path)


def parse_study(text: str, path: Path) -> StudySpec:
    """As :func:`load_study`, for a text that is already at hand."""
    problems = Problems(str(path))
    top = load_source(text, problems)
    if top is None:
        problems.raise_if_any()
    assert top is not None
    spec = _StudyReader(top, path, problems).read()
    if not problems:
        check_rules(spec, problems)
    problems.raise_if_any()
    return spec


class _StudyReader:
    def __init__(self, top: Located, path: Path, problems: Problems) -> None:
        self._top = top
        self._path = path
        self._problems = problems
        self._has_function = "function" in self._keys("train")

    def _keys(self, section: str) -> Mapping[str, Any]:
        node = self._top.value.get(section)
        return node.value if node and isinstance(node.value, dict) else {}

    def read(self) -> StudySpec:
        top = self._top.value
        for key, item in self._top.items():
            if key not in KEYS:
                self._problems.add(item.line, key, f"unknown key{did_you_mean(key, KEYS)}")
        return StudySpec(
            path=self._path,
            name=self._name(),
            objective=self._objective(),
            budget=self._fields("budget", BudgetSpec),
            seed=self._leaf("seed", int, 0),
            sampler=self._fields("sampler", SamplerSpec),
            pruner=self._pruner(),
            sections=self._sections(),
            forbid=self._settings(top.get("forbid")),
            enqueue=self._settings(top.get("enqueue")),
            run=self._fields("run", RunSpec),
            tracking=self._fields("tracking", TrackingSpec),
            storage=self._leaf("storage", str, "auto"),
            lines=dict(_lines(self._top)),
        )

    def _leaf(self, key: str, declared: Any, default: Any) -> Any:
        item = self._top.value.get(key)
        value = read_leaf(item, declared, self._problems) if item else None
        return default if value is None else value

    def _fields(self, key: str, declared: type[Any]) -> Any:
        item = self._top.value.get(key)
        return read_fields(item, declared, self._problems) if item else declared()

    def _name(self) -> str:
        item = self._top.value.get("name")
        name = str(item.value) if item else self._path.stem
        if not _NAME.fullmatch(name):
            self._problems.add(
                item.line if item else 1,
                "name",
                f"must be letters, digits, '.', '_' or '-', and begin with a letter or digit, "
                f"got {name!r}" + ("" if item else "; give the file such a name or set `name:`"),
            )
        return name

    def _pruner(self) -> PrunerSpec:
        if "pruner" not in self._top.value:
            n_metrics = len(self._words(self._keys("objective").get("metric")))
            return PrunerSpec(name="none" if n_metrics > 1 else "asha")
        pruner: PrunerSpec = self._fields("pruner", PrunerSpec)
        return pruner

    def _sections(self) -> dict[str, Section]:
        reader = SectionReader(self._problems)
        sections: dict[str, Section] = {}
        for key in SEARCHABLE:
            if key in self._top.value:
                sections[key] = getattr(reader, key)(self._top.value[key])
            elif key == "train":
                sections[key] = {}
            elif not self._has_function:
                message = f"is required, unless train.function brings its own {key}"
                self._problems.add(1, key, message)
        return sections

    def _objective(self) -> Objective:
        item = self._top.value.get("objective")
        nodes = self._keys("objective")
        if item and not nodes:
            self._problems.add(item.line, item.path, "must be a mapping of metric and direction")
        for key, node in nodes.items():
            if key not in ("metric", "direction"):
                hint = did_you_mean(key, ("metric", "direction"))
                self._problems.add(node.line, node.path, f"unknown key{hint}")
        metrics = self._words(nodes.get("metric")) or ("val_accuracy",)
        line = nodes["metric"].line if "metric" in nodes else item.line if item else 1
        if not self._has_function:
            for metric in (metric for metric in metrics if metric not in METRICS):
                hint = did_you_mean(metric, METRICS)
                self._problems.add(line, "objective.metric", f"nobody reports {metric!r}{hint}")
        return Objective(metrics, self._directions(nodes.get("direction"), metrics, line))

    def _directions(
        self, node: Located | None, metrics: tuple[str, ...], line: int
    ) -> tuple[Direction, ...]:
        words = self._words(node) or tuple(_NATURAL.get(metric, "") for metric in metrics)
        known = get_args(Direction)
        for word in words:
            if word not in known:
                came = f"got {word!r}" if word else "it is not clear from the metric's name"
                self._problems.add(
                    node.line if node else line,
                    "objective.direction",
                    f"must be 'minimize' or 'maximize', {came}",
                )
        if len(words) != len(metrics):
            self._problems.add(
                node.line if node else line,
                "objective.direction",
                f"one for each metric, got {len(words)} for {len(metrics)}",
            )
        return tuple(word for word in words if word in known)  # type: ignore[misc]

    def _words(self, node: Located | None) -> tuple[str, ...]:
        if node is None:
            return ()
        items = node.value if isinstance(node.value, list) else [node]
        words = (read_leaf(item, str, self._problems) for item in items)
        return tuple(word for word in words if word is not None)

    def _settings(self, node: Located | None) -> tuple[Mapping[str, Scalar], ...]:
        if node is None:
            return ()
        items = node.value if isinstance(node.value, list) else [node]
        settings = []
        for item in items:
            if not isinstance(item.value, dict) or not item.value:
                self._problems.add(
                    item.line,
                    node.path,
                    "must be a list of mappings such as {train.optimizer: sgd}",
                )
                continue
            settings.append(
                {name: read_leaf(value, Any, self._problems) for name, value in item.items()}
            )
        return tuple(settings)


def _lines(item: Located) -> Iterator[tuple[str, int]]:
    """Line by dotted name; a branch is named without the word ``choices``."""
    for inner in item.value.values() if isinstance(item.value, dict) else ():
        yield inner.path.replace(".choices", ""), inner.line
        yield from _lines(inner)
