"""The run in MLflow that a trial's own code logs to: the mirror leaves it, a worker finds it.

Workers never talk to MLflow, so it goes from one to the other by a file in the trial's folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sweeper.config.names import Id, Line
from sweeper.config.records import read_record
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import StoreError
from sweeper.text import redacted


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """A trial's run.

    Attributes:
        run_id: Of the run.
        experiment_id: Of the study's experiment, which it is in.
        store: The tracking URI without its password.
        resumed: That the trial began with, as in :class:`~sweeper.events.Started`: for an earlier
            start MLflow may have answered, and not answer now.
    """

    run_id: Id
    experiment_id: Id
    store: Line
    resumed: int

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The run that was left at ``path``, if one was.

        Raises:
            ValueError: If something else stands there.
        """
        try:
            return read_record(cls, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None

    def save(self, path: Path) -> None:
        """Leave it at ``path``, in place of an earlier one.

        Raises:
            StoreError: If the disk does not take it.
        """
        try:
            with durable(Step.MIRROR_CURSOR), replace_file(path) as aside:
                aside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        except OSError as exc:
            raise StoreError(f"{path}: cannot be written: {exc.strerror}; make room") from exc

    def is_for(self, uri: str, resumed: int) -> bool:
        """Whether it was left for that start of the trial, in the store of that URI."""
        return self.resumed == resumed and self.store == redacted(uri)

    def variables(self, uri: str) -> Mapping[str, str]:
        """Where MLflow looks for its store, for the run that is active, and where new ones go.

        Args:
            uri: Of the store, its password included: for an environment, and for no file.
        """
        return {
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_EXPERIMENT_ID": self.experiment_id,
            "MLFLOW_RUN_ID": self.run_id,
        }
