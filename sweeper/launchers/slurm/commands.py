"""Slurm's commands: jobs are submitted, looked for and cancelled."""

import os
import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.launchers.submission import QueuedJob
from sweeper.text import redacted

#: Commands of Slurm try for so long to reach a controller that is away.
_TIMEOUT_S = 60.0
#: What sbatch says when nobody knows whether the controller took the job.
_UNCERTAIN = ("timed out", "Unable to contact", "Connection refused")
#: How the user likes to see the queue, or which jobs to cancel by default, is not for us.
_PREFERENCES = ("SQUEUE_", "SCANCEL_")
#: Of a job from which another one is submitted, all but these would look like the new job's own.
_SETTINGS = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
_DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_JOB_ID = re.compile(r"^(\d+)(?:;.*)?$", re.MULTILINE)


def sbatch_command(script: Path, begin: str | None) -> list[str]:
    """The command that submits a script; ``begin`` is a local time in ISO 8601."""
    return ["sbatch", "--parsable", *([f"--begin={begin}"] if begin else []), str(script)]


def sbatch(command: Sequence[str], hidden: Collection[str]) -> str:
    """Submit jobs; the id of their array.

    Args:
        command: As :func:`sbatch_command` makes it.
        hidden: Variables of the environment that sbatch must not see.

    Raises:
        UncertainJobError: If nobody knows whether Slurm took them.
        LauncherError: If there is no Slurm here, or it refuses them.
    """
    said = _slurm(command, hidden)
    ids = _JOB_ID.findall(said)  # a site may say more, before it
    if not ids:
        raise UncertainJobError(f"sbatch: named no job, and said: {said.strip() or 'nothing'}")
    return str(ids[-1])


def queue(job_names: Sequence[str]) -> list[QueuedJob]:
    """This user's jobs whose name begins with one of these, as far as Slurm still shows them.

    Raises:
        LauncherError: If there is no Slurm here, or its controller does not answer.
    """
    said = _slurm(["squeue", "--me", "--all", "--noheader", "--array", "--format=%i|%j|%T|%r"])
    lines = [line.split("|", 3) for line in said.splitlines()]
    jobs = [QueuedJob(*fields) for fields in lines if len(fields) == 4]
    return [job for job in jobs if job.name.startswith(tuple(job_names))]


def cancel(jobs: Sequence[QueuedJob]) -> None:
    """Cancel jobs that :func:`queue` has just shown.

    Raises:
        LauncherError: If Slurm refuses.
    """
    if jobs:
        _slurm(["scancel", "--quiet", *(job.id for job in jobs)])


def _environment(hidden: Collection[str]) -> dict[str, str]:
    is_in_job = "SLURM_JOB_ID" in os.environ
    return {
        name: value
        for name, value in os.environ.items()
        if name not in hidden
        and not name.startswith(_PREFERENCES)
        and not (is_in_job and _is_of_job(name))
    }


def _is_of_job(name: str) -> bool:
    return name in _DEVICES or (name.startswith("SLURM_") and name not in _SETTINGS)


def _slurm(command: Sequence[str], hidden: Collection[str] = ()) -> str:
    try:
        done = subprocess.run(
            command,
            env=_environment(hidden),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError as exc:
        raise LauncherError(
            f"{command[0]}: not found; submit on a machine that has Slurm's commands, or look at "
            "what would be submitted with --dry-run"
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise UncertainJobError(
            f"{command[0]}: no answer within {_TIMEOUT_S:.0f} s; is Slurm's controller up? "
            "(scontrol ping)"
        ) from exc
    if done.returncode == 0:
        return done.stdout
    reason = done.stderr.strip() or f"exit code {done.returncode}"
    is_uncertain = any(words in reason for words in _UNCERTAIN)
    error = UncertainJobError if is_uncertain else LauncherError
    raise error(f"{command[0]}: {redacted(reason)}")
