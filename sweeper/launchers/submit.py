"""``sweeper submit``: the study's agents as jobs of a scheduler."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sweeper.errors import LauncherError, SpecError, UncertainJobError
from sweeper.launchers import slurm
from sweeper.launchers.schedule import cron_line, parse_begin, parse_every, seconds_of
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
            f"{spec.path}: to which scheduler? Say --to slurm, or `to: slurm` under "
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
    if is_dry:
        submission = Submission.new(spec.name, "slurm")
        lines = [slurm_script(submission, spec, cluster, root=root, every_s=every_s).rstrip()]
        script = RunPaths(root, spec.name).job_script(submission.name)
        return [*lines, "", f"# {shlex.join(_sbatch_command(script, moment))}"]
    submission, job = submit_to_slurm(
        spec, cluster, root=root, begin=moment, every_s=every_s, note=note
    )
    if every_s and shutil.which("scrontab"):
        line = scrontab_line(spec, moment or now, every_s)
        note(f"this site has scrontab, which could do the same: {line}" if line else "")
    n_jobs = format_count(cluster.jobs or 1, "agent")
    return [
        f"submitted {n_jobs} as Slurm job {job}, named {submission.job_name}",
        f"watch them: sweeper status {spec.path} --watch",
        f"stop them: sweeper cancel {spec.path}",
    ]


def submit_to_slurm(
    spec: StudySpec,
    cluster: ClusterSpec,
    *,
    root: Path,
    begin: datetime | None,
    every_s: int | None,
    note: Callable[[str], None],
) -> tuple[Submission, str]:
    """Write the batch script into the study's folder and hand it to ``sbatch``.

    Args:
        spec: The study.
        cluster: What its jobs need, see :func:`settle_cluster`.
        root: The ``mlruns`` folder.
        begin: When the jobs may start, in local time; None for at once.
        every_s: Seconds between two starts of the whole; None for a single one.
        note: Told of what the user should know.

    Returns:
        What is known of the jobs, and Slurm's id of their array.

    Raises:
        LauncherError: If there is no Slurm here, or it refuses the jobs.
    """
    submission = Submission.new(spec.name, "slurm")
    paths = RunPaths(root.absolute(), spec.name)
    script = submission.begin(
        paths, slurm_script(submission, spec, cluster, root=root, every_s=every_s)
    )
    planned = seconds_of(begin) if begin else int(time.time())
    environment = os.environ | {"SWEEPER_PLANNED": str(planned)}
    try:
        job = slurm.sbatch(_sbatch_command(script, begin), environment)
    except UncertainJobError as exc:
        raise UncertainJobError(
            f"{exc}\nNobody knows whether Slurm has taken the jobs: sweeper doctor {spec.path}"
        ) from exc
    except LauncherError:
        submission.forget(paths)
        raise
    if spec.storage == "auto":
        note(
            f"the study is a journal file in {paths.study_dir}, which every node must see; "
            "without a shared folder set `storage: postgresql+psycopg://...`"
        )
    submission.note_job(paths, job)
    return submission, job


def _sbatch_command(script: Path, begin: datetime | None) -> list[str]:
    return slurm.sbatch_command(script, begin.isoformat("T", "seconds") if begin else None)


def slurm_script(
    submission: Submission,
    spec: StudySpec,
    cluster: ClusterSpec,
    *,
    root: Path,
    every_s: int | None,
) -> str:
    """The batch script, as text."""
    paths = RunPaths(root.absolute(), spec.name)
    # What a setup line activates is meant to be used.
    ours = "python" if cluster.setup else shlex.quote(sys.executable)
    return slurm.render_script(
        submission,
        cluster,
        study_file=spec.path,
        folder=Path.cwd(),
        log_dir=paths.submission(submission.name).parent,
        python=cluster.python or ours,
        every_s=every_s,
    )


def scrontab_line(spec: StudySpec, begin: datetime, every_s: int) -> str:
    """The same schedule for a site that has ``scrontab``; empty where cron has no words for it."""
    line = cron_line(every_s, begin)
    if line is None:
        return ""
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.quote(sys.executable)} -m sweeper"
    return f"{line} {command} run {shlex.quote(str(spec.path))}"
