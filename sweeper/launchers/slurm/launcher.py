"""A study's agents as a job array of Slurm."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sweeper.launchers.request import Request
from sweeper.launchers.schedule import Schedule, cron_line, seconds_of
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.slurm.script import overruling_variables, render_script
from sweeper.launchers.submission import Submission
from sweeper.study.storage.filesystem import read_mountinfo
from sweeper.study.storage.preflight import check_places


def show_array(request: Request) -> list[str]:
    """What :func:`submit_array` would submit: the script, and how ``sbatch`` would be called."""
    submission = Submission.new(request.spec.name, "slurm")
    script = request.paths.job_script(submission.name)
    return [_script(request, submission), f"# {shlex.join(_command(request, script))}"]


def submit_array(request: Request, note: Callable[[str], None]) -> str:
    """Write the batch script into the study's folder and hand it to ``sbatch``.

    Args:
        request: What is wanted.
        note: Told of what the user should know.

    Returns:
        What was done, for people.

    Raises:
        LauncherError: If there is no Slurm here, or it refuses the jobs.
        StoreError: If the study's folder cannot be written.
        StudyError, TrackerError: If its stores cannot lie where the study file puts them.
    """
    # Jobs would find out one after the other; this machine sees the same shared folder.
    check_places(request.spec, request.paths, note, mountinfo=read_mountinfo())
    submission = Submission.new(request.spec.name, "slurm")
    hidden = overruling_variables(request.cluster)
    job = submission.hand_over(
        request,
        _script(request, submission),
        lambda script: slurm.sbatch(_command(request, script), hidden),
    )
    if request.spec.storage == "auto":
        note(
            f"the study is a journal file in {request.paths.study_dir}, which every node must "
            "see; without a shared folder set `storage: postgresql+psycopg://...`"
        )
    if request.every_s and shutil.which("scrontab"):
        note(_scrontab_hint(request, request.every_s))
    return f"submitted {request} as Slurm job {job}, named {submission.job_name}"


def _command(request: Request, script: Path) -> list[str]:
    begin = request.begin
    return slurm.sbatch_command(script, begin.isoformat("T", "seconds") if begin else None)


def _script(request: Request, submission: Submission) -> str:
    cluster = request.cluster
    # What a setup line activates is meant to be used.
    ours = "python" if cluster.setup else shlex.quote(sys.executable)
    return render_script(
        submission,
        cluster,
        study_file=request.spec.path,
        folder=Path.cwd(),
        log_dir=request.paths.submission(submission.name).parent,
        python=cluster.python or ours,
        schedule=_schedule(request),
    )


def _schedule(request: Request) -> Schedule | None:
    if request.every_s is None:
        return None
    begin_s = seconds_of(request.begin) if request.begin else int(time.time())
    return Schedule(begin_s, request.every_s)


def _scrontab_hint(request: Request, every_s: int) -> str:
    """The same schedule for a site that has ``scrontab``."""
    line = cron_line(every_s, request.begin or datetime.now())
    if line is None:
        return "cron has no words for such a period, so scrontab could not do the same"
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.quote(sys.executable)} -m sweeper"
    study = shlex.quote(str(request.spec.path))
    return f"this site has scrontab, which could do the same: {line} {command} run {study}"
