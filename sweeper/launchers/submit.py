"""``sweeper submit``: the study's agents as jobs of a scheduler."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sweeper.errors import SpecError
from sweeper.launchers.array import scrontab_hint, show_array, submit_array
from sweeper.launchers.pods import kubernetes_manifest, submit_manifest
from sweeper.launchers.schedule import parse_begin, parse_every
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec
from sweeper.spec.cluster import ClusterSpec, load_profile
from sweeper.ticker import format_count


def settle_cluster(spec: StudySpec, options: ClusterSpec) -> ClusterSpec:
    """What the command line says, over the study file, over the profile that either names.

    Raises:
        SpecError: If there is no such profile, or nothing says which scheduler.
    """
    cluster = options.over(spec.cluster)
    if cluster.profile is not None:
        cluster = cluster.over(load_profile(cluster.profile))
    if cluster.to is None:
        raise SpecError(
            f"{spec.path}: to which scheduler? Say --to slurm or --to kubernetes, or `to:` under "
            "`cluster` in the study file or in a profile"
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
    """
    cluster = settle_cluster(spec, options)
    now = datetime.now()
    moment = parse_begin(begin, now) if begin else None
    every_s = parse_every(every) if every else None
    if cluster.to == "kubernetes":
        text = kubernetes_manifest(
            submission := Submission.new(spec.name, cluster.to),
            spec,
            cluster,
            begin=moment,
            every_s=every_s,
        )
        if is_dry:
            return [text]
        said = submit_manifest(submission, text, paths=RunPaths(root.absolute(), spec.name))
        done = f"submitted {_agents(cluster)} to Kubernetes, named {submission.job_name}: {said}"
    elif is_dry:
        return show_array(spec, cluster, root=root, begin=moment, every_s=every_s)
    else:
        submission, job = submit_array(
            spec, cluster, root=root, begin=moment, every_s=every_s, note=note
        )
        if every_s and shutil.which("scrontab"):
            note(scrontab_hint(spec, moment or now, every_s))
        done = f"submitted {_agents(cluster)} as Slurm job {job}, named {submission.job_name}"
    return [
        done,
        f"watch them: sweeper status {spec.path} --watch",
        f"stop them: sweeper cancel {spec.path}",
    ]


def _agents(cluster: ClusterSpec) -> str:
    return format_count(cluster.jobs or 1, "agent")
