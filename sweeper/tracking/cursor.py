"""How far one trial's events have been sent, and to which run."""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sweeper.trial import EpochMetrics

_logger = logging.getLogger("sweeper")


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What the mirror must remember of a trial between two passes.

    Losing it is harmless: the log is sent again from its start and MLflow keeps each point once.

    Attributes:
        parent_id: MLflow's run of the study; a cursor that names another one is void.
        run_id: MLflow's run of the trial, empty until there is one.
        offset: Bytes of the event log that MLflow has accepted.
        last_epoch: Highest epoch sent, 0 before the first.
        best: The epoch that counts so far.
        is_ended: The trial ended for good and all of it is sent.
    """

    parent_id: str
    run_id: str = ""
    offset: int = 0
    last_epoch: int = 0
    best: EpochMetrics | None = None
    is_ended: bool = False

    @classmethod
    def load(cls, path: Path, parent_id: str) -> Self:
        """The cursor at ``path`` if it belongs to ``parent_id``, else one at the log's start."""
        try:
            record = json.loads(path.read_bytes())
            best = record.pop("best")
            cursor = cls(**record, best=EpochMetrics(**best) if best else None)
        except FileNotFoundError:
            return cls(parent_id=parent_id)
        except (ValueError, TypeError, KeyError) as exc:
            _logger.warning("%s: unreadable (%s); sending this trial's events again", path, exc)
            return cls(parent_id=parent_id)
        return cursor if cursor.parent_id == parent_id else cls(parent_id=parent_id)

    def save(self, path: Path) -> None:
        """Write aside, then rename, so that a crash leaves the old or the new one."""
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(asdict(self)))
        os.replace(aside, path)
