"""How far one trial's events have been sent, and to which run."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

from sweeper.config.names import Id
from sweeper.config.records import read_record
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import StoreError
from sweeper.trial import EpochMetrics

_logger = logging.getLogger("sweeper")


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What the mirror must remember of a trial between two passes.

    Losing it is harmless: then MLflow is asked what it has of the trial.

    Attributes:
        parent_id: MLflow's run of the study; a cursor that names another one is void.
        run_id: MLflow's run of the trial, empty until there is one.
        offset: Bytes of the event log that MLflow has accepted.
        last_epoch: Highest epoch that MLflow has, 0 before the first.
        best: The epoch that counts so far.
        shown: What MLflow's runs table shows as the best.
        is_ended: The trial ended for good and all of it is sent.
    """

    parent_id: Id | Literal[""]
    run_id: Id | Literal[""] = ""
    offset: int = 0
    last_epoch: int = 0
    best: EpochMetrics | None = None
    shown: Mapping[str, float] = field(default_factory=dict)
    is_ended: bool = False

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ValueError(f"offset must be >= 0, got {self.offset}")

    @classmethod
    def load(cls, path: Path, parent_id: str | None) -> Self:
        """The cursor at ``path`` if it belongs to ``parent_id``, else one at the log's start.

        Without a ``parent_id`` it may belong to any.
        """
        at_start = cls(parent_id=parent_id or "")
        try:
            cursor = read_record(cls, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return at_start
        except (ValueError, RecursionError) as exc:
            _logger.warning("%s: unreadable (%s); sending this trial's events again", path, exc)
            return at_start
        return cursor if parent_id in (None, cursor.parent_id) else at_start

    def save(self, path: Path, log: Path) -> None:
        """Write it so that a crash leaves the old or the new one.

        Args:
            path: Of the cursor.
            log: Is forced to disk first: what counts as sent must not vanish with the machine.

        Raises:
            StoreError: If the disk does not take it; then these events are looked at again.
        """
        try:
            with durable(Step.MIRROR_CURSOR):
                with log.open("rb") as file:
                    os.fsync(file.fileno())
                with replace_file(path) as aside:
                    aside.write_text(json.dumps(asdict(self)))
        except OSError as exc:
            raise StoreError(f"{path}: cannot be written: {exc.strerror}; make room") from exc
