"""``data``, ``model`` and ``train``: constants that may be ranges in place."""

from collections.abc import Mapping
from typing import Any, get_type_hints

from sweeper.config.architecture_params import ARCHITECTURE_PARAMS
from sweeper.config.data_params import DATA_PARAMS, REQUIRED_DATA_PARAMS, TEST_ROWS
from sweeper.config.holdout import HOLDOUTS, TEST_WAY, WAYS, WITH_COLUMNS, Share, TestRows
from sweeper.config.interval import read_interval
from sweeper.config.names import mlflow_name_fault
from sweeper.config.problems import Problems, did_you_mean, shown
from sweeper.config.ranges import Choices, Range, Section, option_word
from sweeper.config.references import is_reference, split_reference
from sweeper.config.scalars import came, check_keys, field_types, holds_many, read_constant
from sweeper.config.settings import (
    CommandConfig,
    DataConfig,
    FunctionConfig,
    ModelConfig,
    Scalar,
    TrainConfig,
)
from sweeper.config.study import OWN_TRAINING, fixed_keys
from sweeper.config.torchvision_names import torchvision_names
from sweeper.config.yaml_source import Located, parse_scalar
from sweeper.errors import SpecError

#: Key -> declared type; ``Any`` where only the user's own code knows.
Known = Mapping[str, Any]


class SectionReader:
    """Reads the searchable sections of one study file."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def data(self, item: Located) -> Section:
        """The ``data`` section."""
        known = _without_params(DataConfig)
        node = item.value.get("name")
        name = node.value if node else None
        if node is None:
            self._problems.add(item.origin, "data.name", "is required, e.g. `name: mnist`")
        elif isinstance(name, str) and is_reference(name):
            self._check_reference(node, name)
        elif isinstance(name, str) and name not in DATA_PARAMS:
            hint = did_you_mean(name, [*DATA_PARAMS, "package.module:function"])
            self._problems.blame(node, f"unknown data set {shown(name)}{hint}")
        if isinstance(name, str) and name in DATA_PARAMS:
            section = self._section(item, {**known, **DATA_PARAMS[name]})
        else:
            section = self._section(item, known, others=Any)
        for key in fixed_keys("data", section):
            if isinstance(section.get(key), Range):
                message = "must be a constant: trials are compared on one validation split"
                self._problems.blame(item.value[key], message)
        if isinstance(name, str):
            self._check_rows(item, name, section)
        return section

    def _check_rows(self, item: Located, name: str, section: Section) -> None:
        """What only some data have, or need."""
        for key in REQUIRED_DATA_PARAMS.get(name, ()):
            if key not in section:
                self._problems.add(item.origin, f"data.{key}", f"is required by `name: {name}`")
        for key in ("transform", "validation_transform"):
            if section.get(key) is not None and name in DATA_PARAMS:
                message = f"is for a Dataset of your own, and {name} is none; leave it out"
                self._problems.blame(item.value[key], message)
        if isinstance(section.get("validation"), Mapping) and name not in WITH_COLUMNS:
            message = (
                f"must be a share in (0, 1): rows of {shown(name)} have no columns; "
                f"{', '.join(WITH_COLUMNS)} can be held out by groups, a column or a file"
            )
            self._problems.blame(item.value["validation"], message)

    def model(self, item: Located) -> Section:
        """The ``model`` section."""
        names = self._architectures(item)
        tables = {name: ARCHITECTURE_PARAMS[name] for name in names if name in ARCHITECTURE_PARAMS}
        known = {"architecture": field_types(ModelConfig)["architecture"]}
        for table in tables.values():
            known |= table
        is_built_in = bool(names) and len(tables) == len(names)
        section = self._section(item, known, others=None if is_built_in else Any)
        for key in (key for key in section if key != "architecture"):
            for name in (name for name, table in tables.items() if key not in table):
                message = f"{name} does not take it; move it into the branch of the one that does"
                self._problems.blame(item.value[key], message)
        return section

    def train(self, item: Located) -> Section:
        """The ``train`` section; with training of the user's own, other keys are theirs."""
        if "command" in item.value:
            return self._command(item)
        if "function" not in item.value:
            if "mlflow" in item.value:
                message = (
                    "is for code of your own; what built-in training measures is sent anyway, so "
                    "drop it"
                )
                self._problems.blame(item.value["mlflow"], message)
            others = {**dict.fromkeys(OWN_TRAINING, str), "mlflow": Any}
            return self._section(item, {**field_types(TrainConfig), **others})
        for name in _names(item.value["function"]):
            self._check_reference(item.value["function"], name)
        section = self._section(item, _without_params(FunctionConfig), others=Any)
        if isinstance(section.get("mlflow"), Range):
            self._problems.blame(item.value["mlflow"], "must be a constant: all trials log alike")
        return section

    def _command(self, item: Located) -> Section:
        """The keys of a program are constants, all others the user's own."""
        if "function" in item.value:
            message = "train.function trains already; drop one of the two"
            self._problems.blame(item.value["command"], message)
        known = _without_params(CommandConfig)
        fixed = {
            key: self._fixed(value, known[key]) for key, value in item.items() if key in known
        }
        others = {key: value for key, value in item.items() if key not in known}
        return {**fixed, **self._section(Located(others, item.origin, item.path), {}, Any)}

    def _fixed(self, item: Located, declared: Any) -> Any:
        """A constant; of a list, the wrong item is named."""
        if not isinstance(item.value, list):
            return read_constant(item, declared, self._problems)
        items = [read_constant(inner, str, self._problems) for inner in item.value]
        return None if None in items else read_constant(item, declared, self._problems)

    def _architectures(self, item: Located) -> list[str]:
        node = item.value.get("architecture")
        if node is None:
            message = "is required, e.g. `architecture: mlp`"
            self._problems.add(item.origin, "model.architecture", message)
            return []
        names = _names(node)
        for name in names:
            if is_reference(name):
                self._check_reference(node, name)
            elif name not in ARCHITECTURE_PARAMS and name not in torchvision_names():
                hint = did_you_mean(
                    name,
                    [*ARCHITECTURE_PARAMS, *torchvision_names()],
                    f"; known: {', '.join(ARCHITECTURE_PARAMS)}, the models of torchvision, or "
                    "package.module:function",
                )
                self._problems.blame(node, f"unknown architecture {shown(name)}{hint}")
        return names

    def _check_reference(self, node: Located, name: str) -> None:
        try:
            split_reference(name)
        except SpecError as exc:
            self._problems.blame(node, str(exc))

    def _section(self, item: Located, known: Known, others: Any = None) -> Section:
        """A mapping of ``known`` keys; any other key has the type ``others`` or is wrong."""
        if item.value is None:
            return {}
        if not isinstance(item.value, dict):
            self._problems.blame(item, f"must be a mapping of keys, got {came(item)}")
            return {}
        if others is None:
            check_keys(item, known, self._problems)
        section = {}
        for key, value in item.items():
            declared = known.get(key, others)
            if declared is not None:
                section[key] = self._value(value, declared, known, others)
                if "." in key:
                    message = "a key here may hold no dot, which joins the names of nested keys"
                    self._problems.blame(value, message)
                elif fault := mlflow_name_fault(value.path):
                    self._problems.blame(value, fault)
        return section

    def _value(self, item: Located, declared: Any, known: Known, others: Any) -> Any:
        keys = item.value.keys() if isinstance(item.value, dict) else set()
        if "choices" in keys:
            return self._choices(item, declared, known, others)
        if keys & {"low", "high"}:
            return read_interval(item, declared, self._problems)
        if declared is Any:
            return self._section(item, {}, Any) if keys else item.plain()
        if item.path == "data.validation":
            return self._holdout(item)
        if declared is TEST_ROWS:
            return self._form(item, TestRows, TEST_WAY)
        if isinstance(item.value, dict | list) and not holds_many(declared):
            message = "must be one value, {low: .., high: ..} or {choices: [..]}"
            self._problems.blame(item, f"{message}, got {came(item)}")
            return None
        return read_constant(item, declared, self._problems)

    def _holdout(self, item: Located) -> Any:
        if not isinstance(item.value, dict):
            return read_constant(item, Share, self._problems)
        form = next((form for key, form in HOLDOUTS.items() if key in item.value), None)
        if form is None:
            self._problems.blame(item, f"must be {WAYS}, got {shown(item.plain())}")
            return None
        return self._form(item, form, WAYS)

    def _form(self, item: Located, form: Any, ways: str) -> Any:
        """A mapping of keys that belong together."""
        if not isinstance(item.value, dict):
            self._problems.blame(item, f"must be {ways}, got {came(item)}")
            return None
        declared = get_type_hints(form, include_extras=True)
        for key in sorted(form.__required_keys__ - item.value.keys()):
            self._problems.add(item.origin, f"{item.path}.{key}", f"is required; wanted is {ways}")
        check_keys(item, declared, self._problems)
        return {
            key: read_constant(value, declared[key], self._problems)
            for key, value in item.items()
            if key in declared
        }

    def _choices(self, item: Located, declared: Any, known: Known, others: Any) -> Choices | None:
        check_keys(item, ("choices",), self._problems)
        node = item.value["choices"]
        if not isinstance(node.value, dict | list) or not node.value:
            message = "choices must be a list or a mapping, not empty"
            self._problems.add(node.origin, item.path, message)
            return None
        if isinstance(node.value, list):
            given = [Located(option.value, option.origin, item.path) for option in node.value]
        else:
            given = [
                Located(parse_scalar(word), branch.origin, item.path)
                for word, branch in node.items()
            ]
        options = [self._option(option, declared) for option in given]
        met: set[Scalar] = set()
        for option in options:
            if option is not None and option in met:
                self._problems.blame(item, f"option {shown(option)} is given twice")
            met.add(option)
        if isinstance(node.value, list):
            return Choices(tuple(options))
        branches = {
            option_word(option): self._branch(item.path, option, branch, known, others)
            for option, branch in zip(options, node.value.values(), strict=True)
        }
        return Choices(tuple(options), branches)

    def _option(self, item: Located, declared: Any) -> Scalar:
        if isinstance(item.value, dict | list):
            message = "an option is one value; name it and put its keys in a branch"
            self._problems.blame(item, message)
            return None
        value: Scalar = read_constant(item, declared, self._problems)
        return value

    def _branch(
        self, path: str, option: Scalar, item: Located, known: Known, others: Any
    ) -> Section:
        item = _repath(item, f"{path}.{option_word(option)}")
        if path == "model.architecture":
            known = ARCHITECTURE_PARAMS.get(str(option), {})
            others = None if known else Any
        return self._section(item, known, others)


def _names(node: Located | None) -> list[str]:
    """The words that a constant, or the options of a choice, may be."""
    if node is None:
        return []
    choices = node.value.get("choices") if isinstance(node.value, dict) else node
    values = choices.plain() if choices else []
    values = values if isinstance(values, list | dict) else [values]
    return [value for value in values if isinstance(value, str)]


def _without_params(declared: type) -> dict[str, Any]:
    return {key: kind for key, kind in field_types(declared).items() if key != "params"}


def _repath(item: Located, path: str) -> Located:
    """The same values under another dotted path (a branch is named without ``choices``)."""
    value = item.value
    if isinstance(value, dict):
        value = {key: _repath(inner, f"{path}.{key}") for key, inner in value.items()}
    return Located(value, item.origin, path)
