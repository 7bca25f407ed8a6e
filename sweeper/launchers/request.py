"""What is to be submitted, whatever the scheduler."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sweeper.config import StudySpec
from sweeper.config.cluster import ClusterSpec
from sweeper.paths import RunPaths
from sweeper.text import format_count


@dataclass(frozen=True)
class Request:
    """Agents of one study.

    Attributes:
        spec: The study.
        cluster: What they need, merged from wherever that is said.
        root: The ``mlruns`` folder.
        begin: When they may start, in local time; None for at once.
        every_s: Seconds between two starts of the whole; None for a single one.
    """

    spec: StudySpec
    cluster: ClusterSpec
    root: Path
    begin: datetime | None = None
    every_s: int | None = None

    @property
    def paths(self) -> RunPaths:
        """Files of the study, by absolute path: jobs begin elsewhere."""
        return RunPaths(self.root.absolute(), self.spec.name)

    @property
    def n_agents(self) -> int:
        """Agents, each a job."""
        return self.cluster.jobs or 1

    def __str__(self) -> str:
        return format_count(self.n_agents, "agent")
