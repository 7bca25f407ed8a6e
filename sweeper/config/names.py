"""Names that end up on disk, in an object store or in MLflow, which takes some alone.

Those of the first part also come back from there, from a storage and from event logs, where others
may have written. So each is held against its pattern, which allows no path, wherever it enters.
"""

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Annotated

from pydantic import AfterValidator

#: Behind the names of a study and of its data after a fallback, so that such trials never mix
#: with real ones.
FALLBACK_SUFFIX = "-on-digits"


def without_fault(find_fault: Callable[[str], str]) -> AfterValidator:
    """Refuse a text in the words of a function that finds its fault."""

    def check(text: str) -> str:
        if fault := find_fault(text):
            raise ValueError(fault)
        return text

    return AfterValidator(check)


def matching(pattern: str, rule: str) -> AfterValidator:
    """Refuse a text that does not match as a whole, in the words of the rule."""
    return without_fault(lambda text: "" if re.fullmatch(pattern, text) else rule)


#: Of agents, workers, submissions, a study in its storage, and runs in MLflow.
Id = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        "must be up to 64 letters, digits, '_' or '-', a letter or digit first",
    ),
]
#: Names a file's content in an object store.
Sha256 = Annotated[str, matching(r"[0-9a-f]{64}", "must be the 64 digits of a SHA-256")]
#: What a terminal shows as it is, and a batch script holds in one line.
Line = Annotated[
    str,
    without_fault(lambda text: "" if text.isprintable() else "must be one line of printable text"),
]
#: What the program of a model may need to run.
Package = Annotated[
    str,
    matching(r"(torch|torchvision)==[0-9][0-9A-Za-z.]*", "must be torch or torchvision, pinned"),
]
#: Begins the names of metrics that no epoch measured; MLflow's page shows what is `system/` apart.
OWN_METRICS = "system/sweeper_"
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MLFLOW = re.compile(r"[\w\-.:/ ]+")
#: What file systems, object stores and MLflow's server all take as it is.
_FILE = re.compile(r"[\w\-./ ()+=,@~]+")
#: Of a trial's run: where the weights lie of a model that is none of MLflow's.
WEIGHTS = "weights"
#: MLflow's limit is 250; ``best_`` is put before a metric.
_MOST_SIGNS = 245


def study_name_fault(name: str) -> str:
    """Why a study, and so a folder below ``mlruns/studies``, cannot have that name, or nothing."""
    if _STUDY.fullmatch(name):
        return ""
    return "must be up to 100 letters, digits, '.', '_' or '-', a letter or digit first"


def best_names(metrics: Iterable[str]) -> frozenset[str]:
    """What a run in MLflow shows of the epoch that counts, by the metrics of the objective."""
    return frozenset([*(f"best_{name}" for name in metrics), "best_epoch"])


def is_own_metric(name: str, metrics: Iterable[str]) -> bool:
    """Whether sweeper writes a metric of that name itself; arguments as for what follows."""
    return name in best_names(metrics) or name.startswith(OWN_METRICS)


def metric_name_fault(name: str, metrics: Iterable[str]) -> str:
    """Why nobody can measure something of that name, or nothing.

    Args:
        name: Of what is measured.
        metrics: Of the study's objective.
    """
    if is_own_metric(name, metrics):
        return "sweeper writes a metric of that name itself; give it another one"
    return mlflow_name_fault(name)


def mlflow_name_fault(name: str) -> str:
    """Why MLflow cannot keep a parameter or a metric of that name, or nothing."""
    if not _MLFLOW.fullmatch(name):
        return "MLflow takes letters, digits, spaces and _ - . : / in a name alone"
    if len(name) > _MOST_SIGNS:
        return f"MLflow takes names of up to {_MOST_SIGNS} signs, this one has {len(name)}"
    return _path_fault(name)


def _path_fault(name: str) -> str:
    if posixpath.normpath(name) != name or name[0] == "/" or name.split("/")[0] in (".", ".."):
        return "MLflow reads a name as a path, which may not be absolute and holds no . .. or //"
    return ""


def tag_name_fault(name: str) -> str:
    """Why a trial's own code cannot set a tag of that name, or nothing."""
    for owner in ("sweeper", "mlflow"):
        if name.startswith(f"{owner}."):
            return f"tags that begin with {owner}. are {owner}'s own; give it another name"
    return mlflow_name_fault(name)


def file_name_fault(path: str) -> str:
    """Why a trial's own code cannot log a file under that path of its run, or nothing."""
    if not _FILE.fullmatch(path):
        return "letters, digits, spaces and _ - . / ( ) + = , @ ~ alone can stand in it"
    if len(path) > _MOST_SIGNS:
        return f"it may have up to {_MOST_SIGNS} signs, this one has {len(path)}"
    if path.split("/")[0] == WEIGHTS:
        return f"the folder {WEIGHTS} is sweeper's own; give it another name"
    if path.endswith(".tmp"):
        return "names of files that are yet to be whole end in .tmp; give it another one"
    return _path_fault(path)


#: Of what a trial's own code logs, as an event log has it.
TagName = Annotated[str, without_fault(tag_name_fault)]
FilePath = Annotated[str, without_fault(file_name_fault)]
