"""How a study runs as cluster jobs: its section ``cluster``, a profile, the command line."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from sweeper.config.duration import parse_duration
from sweeper.config.names import Line, matching
from sweeper.config.problems import Problems, did_you_mean
from sweeper.config.scalars import check_constant, field_types, read_fields
from sweeper.config.yaml_source import load_source
from sweeper.errors import SpecError

#: As sbatch takes them: minutes, perhaps with seconds or hours; or days and what follows.
_SLURM_TIMES = (
    re.compile(r"(?P<m>\d+)(:(?P<s>\d{1,2}))?"),
    re.compile(r"(?P<h>\d+):(?P<m>\d{1,2}):(?P<s>\d{1,2})"),
    re.compile(r"(?P<d>\d+)-(?P<h>\d{1,2})(:(?P<m>\d{1,2})(:(?P<s>\d{1,2}))?)?"),
)
_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
#: Slurm counts minutes; and in its last half minute an agent puts its trials back.
_SHORTEST_S = 120.0


def _parse_time_limit(value: Any) -> Any:
    """Seconds of a duration such as ``2h``, or of what sbatch takes: ``20`` are minutes there."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        text = str(value).strip()
        if found := next(filter(None, (form.fullmatch(text) for form in _SLURM_TIMES)), None):
            parts = found.groupdict(default="0")
            return float(sum(int(n) * _UNITS_S[unit] for unit, n in parts.items()))
        with suppress(ValueError):
            return parse_duration(text)
    raise ValueError(
        "must be a duration such as 2h or 90m, or as sbatch takes it: 20 (minutes), 02:00:00, "
        "1-12:00:00"
    )


def _check_long_enough(seconds: float) -> float:
    if seconds < _SHORTEST_S:
        raise ValueError(f"must be {_SHORTEST_S / 60:g}m or longer")
    return seconds


TimeLimit = Annotated[
    float,
    AfterValidator(_check_long_enough),
    BeforeValidator(_parse_time_limit),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["2h", "02:00:00"]}),
]


def _json_pattern(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema(_json_pattern(pattern))


_WORD = r"[^\s\"'`$\\]+"
_MEMORY = "[0-9]+[KMGT]"
_GPUS = "[A-Za-z0-9_.-]+:[0-9]+"
#: By the name jobs are found again, `jobs` makes the array, the signal lets an agent drain, and a
#: job that is put back goes on with its log. A key also names variables that a shell unsets.
_OPTION = r"(?!(job-name|array|signal|open-mode)$)[A-Za-z0-9][A-Za-z0-9-]*"
#: It can be no further option of whoever reads it.
Word = Annotated[
    str, matching(_WORD, "must be one word, without quotes, $ or backslash"), _pattern(_WORD)
]
Memory = Annotated[
    str,
    matching(_MEMORY, "must be a number with its unit, such as 16G"),
    WithJsonSchema({**_json_pattern(_MEMORY), "examples": ["16G"]}),
]
SbatchOption = Annotated[
    str,
    matching(
        _OPTION,
        "must be letters, digits and '-', but not job-name, array, signal or open-mode, which "
        "sweeper writes",
    ),
    _pattern(_OPTION),
]


def _check_gpus(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_number or (isinstance(value, str) and re.fullmatch(_GPUS, value)):
        return value
    raise ValueError("must be such as 1 or a100:2")


Gpus = Annotated[
    int | str,
    BeforeValidator(_check_gpus),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, _json_pattern(_GPUS)],
            "examples": [1, "a100:2"],
        }
    ),
]


#: Keys that only one scheduler has a word for.
OWN_KEYS = {
    "slurm": ("partition", "account", "qos", "setup", "python", "sbatch"),
    "kubernetes": (
        *("image", "volume_claim", "secret", "time_zone"),
        *("node_selector", "tolerations", "priority_class"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The keys of ``cluster``; what is None is the site's default. Nothing here is searched."""

    to: Annotated[
        Literal["slurm", "kubernetes"] | None, Field(description="The scheduler to submit to")
    ] = None
    profile: Annotated[
        Word | None, Field(description="Entry of ~/.config/sweeper/clusters.yaml to start from")
    ] = None
    jobs: Annotated[
        int | None, Field(ge=1, le=10_000, description="Agents, each a job of its own; default 1")
    ] = None
    array_parallelism: Annotated[
        int | None, Field(ge=1, description="So many of them at once; default all")
    ] = None
    time: Annotated[
        TimeLimit | None,
        Field(
            description="Of a job, on Kubernetes of all together, at least 2m; default the site's"
        ),
    ] = None
    cpus: Annotated[
        int | None, Field(ge=1, description="Cores of each agent; default the site's")
    ] = None
    mem: Annotated[
        Memory | None, Field(description="Memory of each agent; default the site's")
    ] = None
    gpus_per_node: Annotated[
        Gpus | None, Field(description="GPUs of each agent; default the site's")
    ] = None
    partition: Annotated[
        Word | None, Field(description="Slurm's partition; default the site's")
    ] = None
    account: Annotated[Word | None, Field(description="Slurm's account; default the site's")] = (
        None
    )
    qos: Annotated[
        Word | None, Field(description="Slurm's quality of service; default the site's")
    ] = None
    setup: Annotated[
        list[str] | None,
        Field(description="Slurm: lines of shell before the agent: modules, a venv"),
    ] = None
    python: Annotated[
        Line | None,
        Field(
            description="What runs Python in a job; default the one that submits, with setup "
            "`python`"
        ),
    ] = None
    sbatch: Annotated[
        dict[SbatchOption, Line | int | Literal[True]] | None,
        Field(description="Further options of sbatch, key: value; true where one takes no value"),
    ] = None

    image: Annotated[
        Word | None, Field(description="Kubernetes: the image, with sweeper as entry point")
    ] = None
    volume_claim: Annotated[
        Word | None, Field(description="Kubernetes: PersistentVolumeClaim that all agents share")
    ] = None
    secret: Annotated[
        Word | None, Field(description="Kubernetes: Secret whose keys become the environment")
    ] = None
    time_zone: Annotated[
        Word | None, Field(description="Kubernetes: of a schedule; default Etc/UTC")
    ] = None
    node_selector: Annotated[
        dict[str, str] | None, Field(description="Kubernetes: labels that a node must have")
    ] = None
    tolerations: Annotated[
        list[dict[str, str]] | None, Field(description="Kubernetes: of taints, in its own words")
    ] = None
    priority_class: Annotated[
        Word | None, Field(description="Kubernetes: PriorityClass of the pods")
    ] = None

    def over(self, basis: "ClusterSpec") -> "ClusterSpec":
        """This one, and where it says nothing, what ``basis`` says; ``sbatch`` key by key."""
        own = {key: value for key, value in asdict(self).items() if value is not None}
        merged = {**asdict(basis), **own}
        if self.sbatch and basis.sbatch:
            merged["sbatch"] = {**basis.sbatch, **self.sbatch}
        return ClusterSpec(**merged)


def parse_options(options: Mapping[str, Any]) -> ClusterSpec:
    """Options of the command line; those that are None were not given.

    Raises:
        SpecError: With every option that is not as it should be.
    """
    types = field_types(ClusterSpec)
    values, faults = {}, []
    for name, given in options.items():
        if given is not None:
            given = _read_option(name, given)
            values[name], fault = check_constant(given, types[name])
            faults += [f"--{name.replace('_', '-')}: {fault}"] if fault else []
    if faults:
        raise SpecError("\n".join(faults))
    return ClusterSpec(**values)


def _read_option(name: str, given: Any) -> Any:
    """What a study file would hold in place of an option's words."""
    if name == "sbatch":
        return dict(_read_sbatch(word.removeprefix("--")) for word in given)
    if name == "gpus_per_node" and given.isdigit():
        return int(given)
    return given


def _read_sbatch(word: str) -> tuple[str, str | bool]:
    key, equals, value = word.partition("=")
    return key, value if equals else True


def load_profile(name: str, path: Path | None = None) -> ClusterSpec:
    """An entry of the file in which users keep what their clusters want.

    Args:
        name: Of the entry.
        path: The file; by default ``sweeper/clusters.yaml`` below ``$XDG_CONFIG_HOME``, or below
            ``~/.config``.

    Raises:
        SpecError: If there is no such file or entry, or with every problem of the entry.
    """
    path = path or _profiles_path()
    if not path.exists():
        raise SpecError(
            f"{path}: no such file, so there is no profile {name!r}; write one such as\n"
            f"{name}:\n  to: slurm\n  partition: gpu\n  setup: [module load cuda]"
        )
    problems = Problems()
    top = load_source(path.read_text(encoding="utf-8"), str(path), problems)
    problems.raise_if_any()
    assert top is not None
    if name not in top.value:
        raise SpecError(f"{path}: there is no profile {name!r}{did_you_mean(name, top.value)}")
    item = top.value[name]
    profile: ClusterSpec = read_fields(item, ClusterSpec, problems)
    if profile.profile is not None:
        problems.blame(item, "a profile cannot name another one")
    problems.raise_if_any()
    return profile


def _profiles_path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "sweeper" / "clusters.yaml"
