"""That MLflow has all of a finished study, kept so that nobody need ask it again."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from sweeper.durable import Step, durable, replace_file
from sweeper.errors import StoreError
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy


@dataclass(frozen=True)
class Completion:
    """What was so when all of a study that had reached its goal had been sent.

    Losing it is harmless: then MLflow is asked.

    Attributes:
        sent: What there was to send, as :func:`sendable` tells it.
        uri: Of the MLflow store, without a password.
        run_id: Of the study's run there.
        models: Number of a best trial -> the URI of its model, if MLflow has one.
    """

    sent: str
    uri: str
    run_id: str
    models: Mapping[int, str]

    @store_errors()
    def save(self, path: Path) -> None:
        """Write it so that a crash leaves the old or the new one."""
        with durable(Step.MIRROR_COMPLETE), replace_file(path) as aside:
            aside.write_text(json.dumps(asdict(self)), encoding="utf-8")


def find_completion(study: SweepStudy) -> Completion | None:
    """The study's, if nothing has come since and its goal is reached; else, or unknown, None."""
    try:
        if study.n_finished() < study.goal:
            return None
        record = json.loads(study.paths.mirrored.read_bytes())
        models = {int(number): str(uri) for number, uri in record["models"].items()}
        completion = Completion(**{**record, "models": models})
        is_whole = completion.sent == sendable(study) and _has_run(completion)
    except (OSError, StoreError, sqlite3.Error, ValueError, TypeError, KeyError, AttributeError):
        return None
    return completion if is_whole else None


def _has_run(completion: Completion) -> bool:
    """Whether a store that is a file has the study's run; a server is not asked."""
    if not completion.uri.startswith("sqlite"):
        return True
    file = Path(make_url(completion.uri).database or "").absolute()
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
        return database.execute(query, (completion.run_id,)).fetchone() is not None


@store_errors()
def sendable(study: SweepStudy) -> str:
    """A digest that changes with whatever there is to send, and with where that goes."""
    paths, tracking = study.paths, study.spec.tracking
    counts = sorted(study.counts().items())
    # The root, as MLflow's own store follows a folder that was moved.
    where = (tracking.uri, os.environ.get("MLFLOW_TRACKING_URI"), str(paths.root.absolute()))
    logs = [(number, _size(paths.events(number))) for number in sorted(paths.trial_numbers())]
    whole = (where, tracking.log_models, study.goal, counts, logs)
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
