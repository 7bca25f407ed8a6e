"""What is to be submitted, whatever the scheduler."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sweeper.config.cluster import OWN_KEYS, ClusterSpec, load_profile
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError
from sweeper.launchers.schedule import parse_begin, parse_every
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
        return RunPaths(self.root, self.spec.name)

    @property
    def n_agents(self) -> int:
        """Agents, each a job."""
        return self.cluster.jobs or 1

    def __str__(self) -> str:
        return format_count(self.n_agents, "agent")


def build_request(
    spec: StudySpec,
    options: ClusterSpec,
    *,
    root: Path,
    begin: str | None = None,
    every: str | None = None,
) -> Request:
    """What a command line asks for.

    Args:
        spec: The study.
        options: Of the command line, over the study file's.
        root: The ``mlruns`` folder.
        begin: When the jobs may start, see :func:`~sweeper.launchers.schedule.parse_begin`.
        every: Period of a schedule, see :func:`~sweeper.launchers.schedule.parse_every`.

    Raises:
        SpecError: If the options do not go together.
    """
    return Request(
        spec,
        settle_cluster(spec, options),
        root,
        parse_begin(begin, datetime.now()) if begin else None,
        parse_every(every) if every else None,
    )


def settle_cluster(spec: StudySpec, options: ClusterSpec) -> ClusterSpec:
    """What the command line says, over the study file, over the profile that either names.

    What the scheduler has no word for may stand in a profile alone, which says what a site has.

    Raises:
        SpecError: If there is no such profile, nothing says which scheduler, or this one has no
            word for what is asked.
    """
    asked = cluster = options.over(spec.cluster)
    if cluster.profile is not None:
        cluster = cluster.over(load_profile(cluster.profile))
    if cluster.to is None:
        raise SpecError(
            f"{spec.path}: to which scheduler? Say --to slurm or --to kubernetes, or `to:` under "
            "`cluster` in the study file or in a profile"
        )
    if foreign := ", ".join(_foreign_keys(asked, cluster.to)):
        raise SpecError(
            f"{spec.path}: {cluster.to} has no word for {foreign}; drop that from the "
            "command line and the study file, or move it into a profile"
        )
    if spec.is_on_sqlite and (cluster.jobs or 1) > 1:
        raise SpecError(
            f"{spec.place('storage')}: SQLite serves one worker, not {cluster.jobs} jobs; use "
            "postgresql+psycopg://..., or `storage: auto` where all nodes see the same folder"
        )
    return cluster


def _foreign_keys(asked: ClusterSpec, to: str) -> Iterator[str]:
    """What is asked for that only other schedulers have a word for."""
    for scheduler, keys in OWN_KEYS.items():
        for key in keys:
            if scheduler != to and getattr(asked, key) is not None:
                yield f"`{key}`"
