"""Names that end up on disk or in MLflow, which takes some alone."""

import posixpath
import re

#: Behind the names of a study and of its data after a fallback, so that such trials never mix
#: with real ones.
FALLBACK_SUFFIX = "-on-digits"

_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MLFLOW = re.compile(r"[\w\-.:/ ]+")
#: MLflow's limit is 250; ``best_`` is put before a metric.
_MOST_SIGNS = 245


def study_name_fault(name: str) -> str:
    """Why a study, and so a folder below ``mlruns/studies``, cannot have that name, or nothing."""
    if _STUDY.fullmatch(name):
        return ""
    return "must be up to 100 letters, digits, '.', '_' or '-', a letter or digit first"


def mlflow_name_fault(name: str) -> str:
    """Why MLflow cannot keep a parameter or a metric of that name, or nothing."""
    if not _MLFLOW.fullmatch(name):
        return "MLflow takes letters, digits, spaces and _ - . : / in a name alone"
    if len(name) > _MOST_SIGNS:
        return f"MLflow takes names of up to {_MOST_SIGNS} signs, this one has {len(name)}"
    if posixpath.normpath(name) != name or name[0] == "/" or name.split("/")[0] in (".", ".."):
        return "MLflow reads a name as a path, which may not be absolute and holds no . .. or //"
    return ""
