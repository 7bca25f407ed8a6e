"""The files of rows that a study file names: where they lie, and what is made of them."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sweeper.config.settings import DataConfig
from sweeper.data.sources import file_identity
from sweeper.errors import DataError


def row_files(config: DataConfig) -> list[Path]:
    """The file of the rows and, if the study file names one, that of the validation rows.

    A relative path is below data.root; without one it counts from where the command works, and
    if there is nothing, from $SWEEPER_DATA.

    Raises:
        DataError: If one is not there.
    """
    holdout = config.validation
    held_out = [] if isinstance(holdout, float) or "path" not in holdout else [holdout["path"]]
    return [
        _find(config.params["path"], config.root, "data.path"),
        *(_find(path, config.root, "data.validation") for path in held_out),
    ]


def _find(name: str, root: str | None, key: str) -> Path:
    environment = os.environ.get("SWEEPER_DATA")
    folders = [root] if root is not None else ["", *([environment] if environment else [])]
    try:
        places = [Path(folder).expanduser() / Path(name).expanduser() for folder in folders]
        for place in places:
            if place.is_file():
                return place.resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # of a home, or a sign, that cannot be
        raise DataError(
            f"{key}: no file can be called {name!r}: {exc}; give another path"
        ) from exc
    looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"{key}: no such file: {looked}; give the path from where the command works, or from "
        "data.root or $SWEEPER_DATA if that is set"
    )


def row_identity(config: DataConfig, fitted: Collection[str]) -> list[Any]:
    """All that the decoded rows follow from.

    Args:
        config: Of the data.
        fitted: Keys that say what is made of them for a trial.
    """
    kept = {key: value for key, value in config.params.items() if key not in fitted}
    marks = {} if isinstance(config.validation, float) else dict(config.validation)
    marks.pop("share", None)
    params = {"params": sorted(kept.items()), "marks": sorted(marks.items())}
    return [params, config.task, file_identity(row_files(config))]


def row_label(config: DataConfig) -> str:
    """Their name in records: that of the file, without suffixes."""
    return Path(config.params["path"]).name.partition(".")[0] or config.name
