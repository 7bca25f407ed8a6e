"""What commands are told: the study, what is laid over it, and options of a cluster."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.paths import RunPaths

if TYPE_CHECKING:
    from sweeper.config.study import StudySpec

#: Where studies, caches and the default MLflow store lie, below the working directory.
ROOT = Path("mlruns")


def _begun(path: Path | None) -> RunPaths | None:
    """The study that is named in place of a file, if one of that name has begun here."""
    if path is None or path.exists() or len(path.parts) > 1:
        return None
    paths = RunPaths(ROOT, str(path))
    return paths if paths.resolved_spec.exists() else None


def study_file(path: Path | None) -> Path | None:
    """A study file, or that of the study which is named in its place."""
    if not (paths := _begun(path)):
        return path
    from sweeper.study.find import file_by_name

    return file_by_name(paths)


def _study_folder(path: Path) -> Path:
    """Not the file, as then no code that it names is imported."""
    paths = _begun(path)
    return paths.study_dir if paths else path


StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        callback=study_file,
        help="The study file (YAML), or the name of a study that has begun here.",
    ),
]
StudyOrFolder = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        callback=_study_folder,
        help="The study file, the name of a study that has begun here, or a folder "
        "mlruns/studies/NAME.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Laid over the file: train.epochs=3, or ~train.l1 to drop a key.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="The study's name, in place of the file's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def load(path: Path, overrides: list[str] | None, name: str | None) -> "StudySpec":
    """The study of a file, with what the command line lays over it."""
    from sweeper.config.overrides import name_override
    from sweeper.config.reader import load_study

    return load_study(path, [*(overrides or []), *([] if name is None else [name_override(name)])])


def find(path: Path, overrides: list[str] | None, name: str | None) -> "Path | StudySpec":
    """A study file as it was read, or the folder of a study."""
    if not path.is_dir():
        return load(path, overrides, name)
    if overrides or name is not None:
        raise typer.BadParameter(
            "a folder says how its study was run, and nothing is laid over that; name the file",
            param_hint="STUDY",
        )
    return path


#: Key of the study file's `cluster` -> type as an option, help, and names if not the key's.
_CLUSTER: dict[str, tuple[type, str, *tuple[str, ...]]] = {
    "to": (str, "The scheduler: slurm, kubernetes."),
    "profile": (str, "Entry of ~/.config/sweeper/clusters.yaml."),
    "jobs": (int, "Agents, each a job on a node.", "--jobs", "--nodes"),
    "array_parallelism": (int, "So many of them at once."),
    "time": (str, "Time limit: 2h, 02:00:00, 20 (minutes). Slurm: of a job, put back then."),
    "cpus": (int, "Cores of each agent."),
    "mem": (str, "Memory of each agent: 16G."),
    "gpus_per_node": (str, "GPUs of each agent: 1, a100:2."),
    "partition": (str, "Slurm's partition."),
    "account": (str, "Slurm's account."),
    "qos": (str, "Slurm's quality of service."),
    "setup": (list[str], "A line of shell before the agent; repeat it."),
    "python": (str, "What runs Python in a job."),
    "sbatch": (list[str], "An option of sbatch, key=value or key; repeat it."),
    "image": (str, "Kubernetes: the image."),
    "volume_claim": (str, "Kubernetes: PersistentVolumeClaim of all agents."),
    "secret": (str, "Kubernetes: Secret with the environment."),
    "time_zone": (str, "Kubernetes: of a schedule; default Etc/UTC."),
}


def with_cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each key of `cluster`; it gets all as its `options`."""

    @wraps(command)
    def collected(**given: Any) -> None:
        options = {key: given.pop(key) for key in _CLUSTER}
        asked = {key: value for key, value in options.items() if value not in (None, [])}
        command(**given, options=asked)

    parameters = list(inspect.signature(command).parameters.values())
    at = [parameter.name for parameter in parameters].index("options")
    parameters[at : at + 1] = [
        inspect.Parameter(
            key,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[kind | None, typer.Option(*names, help=words)],
        )
        for key, (kind, words, *names) in _CLUSTER.items()
    ]
    collected.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return collected
