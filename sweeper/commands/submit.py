"""``sweeper submit``: the study's agents as jobs of a scheduler."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sweeper.config import StudySpec
from sweeper.config.cluster import OWN_KEYS, ClusterSpec, load_profile
from sweeper.errors import SpecError
from sweeper.launchers.kubernetes.launcher import show_pods, submit_pods
from sweeper.launchers.request import Request
from sweeper.launchers.schedule import parse_begin, parse_every
from sweeper.launchers.slurm.launcher import show_array, submit_array

#: What shows, and what submits, a request to each.
_LAUNCHERS = {"slurm": (show_array, submit_array), "kubernetes": (show_pods, submit_pods)}


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
    foreign = [
        f"`{key}`"
        for scheduler, keys in OWN_KEYS.items()
        for key in keys
        if scheduler != cluster.to and getattr(asked, key) is not None
    ]
    if foreign:
        raise SpecError(
            f"{spec.path}: {cluster.to} has no word for {', '.join(foreign)}; drop that from the "
            "command line and the study file, or move it into a profile"
        )
    if spec.is_on_sqlite and (cluster.jobs or 1) > 1:
        raise SpecError(
            f"{spec.place('storage')}: SQLite serves one worker, not {cluster.jobs} jobs; use "
            "postgresql+psycopg://..., or `storage: auto` where all nodes see the same folder"
        )
    return cluster


def submit_study(
    spec: StudySpec,
    options: ClusterSpec,
    *,
    root: Path,
    begin: str | None,
    every: str | None,
    is_dry: bool,
    note: Callable[[str], None],
) -> list[str]:
    """Submit the study's agents, or show what would be submitted.

    Args:
        spec: The study.
        options: Of the command line, over the study file's.
        root: The ``mlruns`` folder.
        begin: When the jobs may start, see :func:`~sweeper.launchers.schedule.parse_begin`.
        every: Period of a schedule, see :func:`~sweeper.launchers.schedule.parse_every`.
        is_dry: Submit nothing and write nothing.
        note: Told of what the user should know.

    Returns:
        Lines for the user.

    Raises:
        SpecError: If the options do not go together.
        LauncherError: If the scheduler is out of reach or refuses.
        StoreError: If the study's folder cannot be written.
        StudyError, TrackerError: If Slurm's jobs could not keep the study's stores there.
    """
    request = Request(
        spec,
        cluster := settle_cluster(spec, options),
        root,
        parse_begin(begin, datetime.now()) if begin else None,
        parse_every(every) if every else None,
    )
    assert cluster.to is not None
    show, submit = _LAUNCHERS[cluster.to]
    if is_dry:
        return show(request)
    return [
        submit(request, note),
        f"watch them: sweeper status {spec.path} --watch",
        f"stop them: sweeper cancel {spec.path}",
    ]
