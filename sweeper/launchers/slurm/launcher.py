"""A study's agents as a job array of Slurm."""

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sweeper.launchers.request import Request
from sweeper.launchers.schedule import Schedule, cron_line
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.slurm.cancellation import SlurmCancellation
from sweeper.launchers.slurm.script import AgentCommand, overruling_variables, render_script
from sweeper.launchers.submission import QueuedJob, Submission
from sweeper.paths import RunPaths
from sweeper.study.storage.filesystem import read_mountinfo
from sweeper.study.storage.preflight import check_places


class SlurmLauncher:
    """Agents as the tasks of a job array; see :class:`~sweeper.launchers.base.Launcher`."""

    name = "slurm"
    title = "Slurm"
    list_command = "squeue --me --all --format='%i %j %T'"

    def show(self, request: Request) -> list[str]:
        """The script, and how ``sbatch`` would be called."""
        submission = Submission.new(request.spec.name, self.name)
        script = request.paths.job_script(submission.name)
        return [_script(request, submission), f"# {shlex.join(_command(request, script))}"]

    def submit(self, request: Request, note: Callable[[str], None]) -> str:
        """Write the batch script into the study's folder and hand it to ``sbatch``."""
        # Jobs would find out one after the other; this machine sees the same shared folder.
        check_places(request.spec, request.paths, note, mountinfo=read_mountinfo())
        submission = Submission.new(request.spec.name, self.name)
        hidden = overruling_variables(request.cluster)
        job = submission.hand_over(
            request,
            _script(request, submission),
            lambda script: slurm.sbatch(_command(request, script), hidden),
        )
        _note_site(request, note)
        return f"submitted {request} as Slurm job {job}, named {submission.job_name}"

    def find(self, submission: Submission) -> str | None:
        """The id of the array."""
        jobs = slurm.queue([submission.job_name])
        return next((job.id.partition("_")[0] for job in jobs), None)

    def queue(self, submissions: Sequence[Submission]) -> list[QueuedJob]:
        """What ``squeue`` shows, task by task."""
        return slurm.queue([found.job_name for found in submissions])

    def cancel(
        self, submissions: Sequence[Submission], paths: RunPaths
    ) -> list[SlurmCancellation]:
        """All of them at once, as one look at the queue shows the jobs of all."""
        return [SlurmCancellation(submissions, paths)]


def _note_site(request: Request, note: Callable[[str], None]) -> None:
    """Say what the study relies on, or could rely on, at this site."""
    if request.spec.storage == "auto":
        note(
            f"the study is a journal file in {request.paths.study_dir}, which every node must "
            "see; without a shared folder set `storage: postgresql+psycopg://...`"
        )
    if request.every_s and shutil.which("scrontab"):
        note(_scrontab_hint(request, request.every_s))


def _command(request: Request, script: Path) -> list[str]:
    begin = request.begin
    return slurm.sbatch_command(script, begin.isoformat("T", "seconds") if begin else None)


def _script(request: Request, submission: Submission) -> str:
    cluster, spec = request.cluster, request.spec
    # What a setup line activates is meant to be used.
    ours = "python" if cluster.setup else shlex.quote(sys.executable)
    return render_script(
        submission,
        cluster,
        AgentCommand(cluster.python or ours, spec.path, Path.cwd(), spec.overrides),
        log_dir=request.paths.submission(submission.name).parent,
        schedule=_schedule(request),
    )


def _schedule(request: Request) -> Schedule | None:
    if request.every_s is None:
        return None
    begin = request.begin or datetime.now()
    return Schedule(int(begin.timestamp()), request.every_s)


def _scrontab_hint(request: Request, every_s: int) -> str:
    """The same schedule for a site that has ``scrontab``."""
    line = cron_line(every_s, request.begin or datetime.now())
    if line is None:
        return "cron has no words for such a period, so scrontab could not do the same"
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.quote(sys.executable)} -m sweeper"
    study = shlex.join([str(request.spec.path), *request.spec.overrides])
    return f"this site has scrontab, which could do the same: {line} {command} run {study}"
