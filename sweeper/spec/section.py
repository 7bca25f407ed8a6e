"""``data``, ``model`` and ``train``: constants that may be ranges in place."""

import math
from collections.abc import Mapping
from typing import Any

from sweeper.config import (
    ARCHITECTURE_PARAMS,
    DATA_PARAMS,
    DataConfig,
    FunctionConfig,
    ModelConfig,
    Scalar,
    TrainConfig,
)
from sweeper.reference import is_reference
from sweeper.spec.leaf import field_types, read_leaf
from sweeper.spec.problem import Problems, did_you_mean
from sweeper.spec.ranges import Choices, FloatRange, IntRange, Section
from sweeper.spec.source import Located, parse_scalar
from sweeper.spec.zoo import torchvision_names

#: Key -> declared type; ``Any`` where only the user's own code knows.
Known = Mapping[str, Any]


class SectionReader:
    """Reads the searchable sections of one study file."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def data(self, item: Located) -> Section:
        """The ``data`` section."""
        types = _without_params(DataConfig)
        known = dict(types)
        name = item.value.get("name") if isinstance(item.value, dict) else None
        if name is None:
            self._problems.add(item.line, "data.name", "is required, e.g. `name: mnist`")
        elif is_reference(str(name.value)):
            return self._section(item, known, others=Any)
        elif isinstance(name.value, str) and name.value not in DATA_PARAMS:
            hint = did_you_mean(name.value, [*DATA_PARAMS, "package.module:function"])
            self._problems.add(name.line, name.path, f"unknown data set {name.value!r}{hint}")
        elif isinstance(name.value, str):
            known |= DATA_PARAMS[name.value]
        section = self._section(item, known)
        for key in ("name", "root", "fallback", "validation"):
            if isinstance(section.get(key), FloatRange | IntRange | Choices):
                self._problems.add(
                    item.value[key].line,
                    f"data.{key}",
                    "must be a constant: trials are compared on one validation split",
                )
        return section

    def model(self, item: Located) -> Section:
        """The ``model`` section."""
        names = self._architectures(item)
        tables = {name: ARCHITECTURE_PARAMS[name] for name in names if name in ARCHITECTURE_PARAMS}
        known = {
            "architecture": field_types(ModelConfig)["architecture"],
            **{key: declared for table in tables.values() for key, declared in table.items()},
        }
        section = self._section(item, known, others=Any if len(tables) < len(names) else None)
        for key in section.keys() & known.keys() - {"architecture"}:
            for name in (name for name, table in tables.items() if key not in table):
                self._problems.add(
                    item.value[key].line,
                    f"model.{key}",
                    f"{name} does not take it; move it into the branch of the one that does",
                )
        return section

    def train(self, item: Located) -> Section:
        """The ``train`` section; with ``function`` every other key is the user's own."""
        if isinstance(item.value, dict) and "function" in item.value:
            return self._section(item, _without_params(FunctionConfig), others=Any)
        return self._section(item, {**field_types(TrainConfig), "function": str})

    def _architectures(self, item: Located) -> list[str]:
        node = item.value.get("architecture") if isinstance(item.value, dict) else None
        if node is None:
            self._problems.add(
                item.line, "model.architecture", "is required, e.g. `architecture: mlp`"
            )
            return []
        choices = node.value.get("choices") if isinstance(node.value, dict) else node
        options = choices.plain() if choices else []
        names = list(options) if isinstance(options, list | dict) else [options]
        for name in names:
            if (
                isinstance(name, str)
                and not is_reference(name)
                and name not in ARCHITECTURE_PARAMS
                and name not in torchvision_names()
            ):
                known = [*ARCHITECTURE_PARAMS, *torchvision_names()]
                hint = did_you_mean(name, known) if len(name) < 40 else ""
                hint = (
                    hint
                    if hint.startswith("; did")
                    else (
                        "; known: mlp, cnn, the models of torchvision, or package.module:function"
                    )
                )
                self._problems.add(node.line, node.path, f"unknown architecture {name!r}{hint}")
        return [name for name in names if isinstance(name, str)]

    def _section(self, item: Located, known: Known, others: Any = None) -> Section:
        """A mapping of ``known`` keys; any other key has the type ``others`` or is wrong."""
        if item.value is None:
            return {}
        if not isinstance(item.value, dict):
            self._problems.add(item.line, item.path, "must be a mapping of keys")
            return {}
        section = {}
        for key, value in item.items():
            declared = known.get(key, others)
            if declared is None:
                self._problems.add(
                    value.line, value.path, f"unknown key{did_you_mean(key, known)}"
                )
            else:
                section[key] = self._value(value, declared, known, others)
        return section

    def _value(self, item: Located, declared: Any, known: Known, others: Any) -> Any:
        keys = item.value.keys() if isinstance(item.value, dict) else set()
        if "choices" in keys:
            return self._choices(item, declared, known, others)
        if keys & {"low", "high"}:
            return self._range(item, declared)
        if declared is not Any:
            if keys:
                self._problems.add(
                    item.line, item.path, "must be one value, {low, high} or {choices: [...]}"
                )
                return None
            return read_leaf(item, declared, self._problems)
        if keys:
            return {key: self._value(value, Any, {}, Any) for key, value in item.items()}
        return item.plain()

    def _choices(self, item: Located, declared: Any, known: Known, others: Any) -> Choices | None:
        self._only(item, ("choices",))
        node = item.value["choices"]
        if not isinstance(node.value, dict | list) or not node.value:
            self._problems.add(
                node.line, item.path, "choices must be a list or a mapping, not empty"
            )
            return None
        if isinstance(node.value, list):
            options = [self._option(option, declared, item.path) for option in node.value]
            self._no_repeats(item, options)
            return Choices(tuple(options))
        branches: dict[Scalar, Section] = {}
        for word, branch in node.items():
            path = f"{item.path}.{word}"
            option = self._option(
                Located(parse_scalar(word), branch.line, path), declared, item.path
            )
            branches[option] = self._branch(_repath(branch, path), option, known, others)
        return Choices(tuple(branches), {str(o): b for o, b in branches.items()})

    def _branch(self, item: Located, option: Scalar, known: Known, others: Any) -> Section:
        if item.path == f"model.architecture.{option}":
            table = ARCHITECTURE_PARAMS.get(str(option))
            return self._section(item, table or {}, None if table else Any)
        return self._section(item, known, others)

    def _option(self, item: Located, declared: Any, path: str) -> Scalar:
        if isinstance(item.value, dict | list):
            self._problems.add(
                item.line, path, "an option is one value; name it and put its keys in a branch"
            )
            return None
        value: Scalar = read_leaf(Located(item.value, item.line, path), declared, self._problems)
        return value

    def _no_repeats(self, item: Located, options: list[Scalar]) -> None:
        for i, option in enumerate(options):
            if option is not None and option in options[:i]:
                self._problems.add(item.line, item.path, f"option {option!r} is given twice")

    def _range(self, item: Located, declared: Any) -> FloatRange | IntRange | None:
        self._only(item, ("low", "high", "step", "log"))
        nodes = item.value
        if missing := [end for end in ("low", "high") if end not in nodes]:
            self._problems.add(item.line, item.path, f"a range needs `{missing[0]}` too")
            return None
        ends = [
            read_leaf(_at(nodes[end], item.path), declared, self._problems)
            for end in ("low", "high")
        ]
        step = nodes["step"].value if "step" in nodes else None
        log = nodes["log"].value if "log" in nodes else False
        if not all(_is_number(end) for end in ends):
            if all(end is not None for end in ends):
                self._problems.add(item.line, item.path, "the ends of a range must be numbers")
            return None
        low, high = ends
        fault = _range_fault(low, high, step, log)
        if fault:
            self._problems.add(item.line, item.path, fault)
            return None
        if isinstance(low, int) and isinstance(high, int):
            if isinstance(step, int | None):
                return IntRange(low, high, step or 1, log)
            if declared is not Any:
                self._problems.add(item.line, item.path, f"step must be whole, got {step!r}")
                return None
        return FloatRange(float(low), float(high), float(step) if step is not None else None, log)

    def _only(self, item: Located, allowed: tuple[str, ...]) -> None:
        for key, value in item.items():
            if key not in allowed:
                self._problems.add(
                    value.line, value.path, f"unknown key{did_you_mean(key, allowed)}"
                )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range_fault(low: float, high: float, step: Any, log: Any) -> str:
    """Why the range makes no sense, or nothing."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"the ends must be finite, got low={low} high={high}"
    if low >= high:
        return f"low must be < high, got low={low} high={high}"
    if not isinstance(log, bool):
        return f"log must be true or false, got {log!r}"
    if log and low <= 0:
        return f"a log range needs low > 0, got low={low}"
    if step is None:
        return ""
    if log:
        return "log and step exclude each other; drop one"
    if not _is_number(step) or not 0 < step <= high - low:
        return f"step must be a number in (0, high - low], got {step!r}"
    n_steps = (high - low) / step
    if abs(n_steps - round(n_steps)) > 1e-6:
        return f"step {step} does not lead from low={low} to high={high}"
    return ""


def _without_params(declared: type) -> Known:
    return {key: kind for key, kind in field_types(declared).items() if key != "params"}


def _at(item: Located, path: str) -> Located:
    return Located(item.value, item.line, path)


def _repath(item: Located, path: str) -> Located:
    """The same values under another dotted path (a branch is named without ``choices``)."""
    value = item.value
    if isinstance(value, dict):
        value = {key: _repath(inner, f"{path}.{key}") for key, inner in value.items()}
    return Located(value, item.line, path)
