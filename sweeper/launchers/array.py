"""A study's agents as a job array of Slurm."""

import os
import shlex
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.launchers import slurm
from sweeper.launchers.schedule import cron_line, seconds_of
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec
from sweeper.spec.cluster import ClusterSpec


def show_array(
    spec: StudySpec,
    cluster: ClusterSpec,
    *,
    root: Path,
    begin: datetime | None,
    every_s: int | None,
) -> list[str]:
    """What :func:`submit_array` would submit: the script, and how ``sbatch`` would be called."""
    submission = Submission.new(spec.name, "slurm")
    script = RunPaths(root, spec.name).job_script(submission.name)
    text = slurm_script(submission, spec, cluster, root=root, every_s=every_s)
    return [text, f"# {shlex.join(_sbatch_command(script, begin))}"]


def submit_array(
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
        cluster: What its jobs need, merged from wherever they are said.
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


def scrontab_hint(spec: StudySpec, begin: datetime, every_s: int) -> str:
    """The same schedule for a site that has ``scrontab``."""
    line = cron_line(every_s, begin)
    if line is None:
        return "cron has no words for such a period, so scrontab could not do the same"
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.quote(sys.executable)} -m sweeper"
    study = shlex.quote(str(spec.path))
    return f"this site has scrontab, which could do the same: {line} {command} run {study}"
