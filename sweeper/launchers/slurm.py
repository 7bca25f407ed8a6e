"""Slurm: a batch script that an administrator can read, and the few commands around it.

submitit, which pickles a function and watches it, is not used: what runs here is a command line
that keeps its own checkpoints, and a site wants to see it as text.
"""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.launchers.submission import Submission
from sweeper.spec.cluster import ClusterSpec

#: Commands of Slurm try for so long to reach a controller that is away.
_PATIENCE_S = 60.0
#: Seconds between USR1 and the time limit: an agent puts its trials back within half of it.
_NOTICE_S = 60
#: What sbatch says when nobody knows whether the controller took the job.
_UNCERTAIN = ("timed out", "Unable to contact", "Connection refused")

_HEAD = """\
#!/bin/bash
# Agents of sweeper: each works on study {study} until its goal is reached, then all end.
# Any number may run at once, and one may be started twice: the study's storage keeps order.
{directives}

# Not SLURM_JOB_ID: that of the last task is the whole array's.
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID told= agent=
trap 'told=USR1; [ -z "$agent" ] || kill -USR1 "$agent"' USR1  # the time limit, or preemption
trap 'told=TERM' TERM  # by scancel; Slurm sends it to the agent as well
cd {folder} || exit 1
"""
_SCHEDULE = """
# The next one first, so that the schedule goes on whatever becomes of this one.
next=$SWEEPER_PLANNED
while [ "$next" -le "$(date +%s)" ]; do next=$((next + {every_s})); done
if [ "$SLURM_ARRAY_TASK_ID" = 0 ] && [ -z "$(squeue --me -h --name={job_name}-"$next")" ]; then
  SWEEPER_PLANNED=$next sbatch --job-name={job_name}-"$next" \\
    --begin="$(date -d "@$next" +%FT%T)" "$0" || echo "the next of the schedule is missing" >&2
fi
"""
_RUN = """
{python} -m sweeper run {study_file} &
"""
_TAIL = """\
agent=$!
[ "$told" != USR1 ] || kill -USR1 "$agent"
while :; do
  wait "$agent"
  code=$?
  kill -0 "$agent" 2>/dev/null || break  # else a signal has ended the wait, not the agent
done

was_preempted() { scontrol show job "$job" | grep -q 'PreemptTime=[0-9]'; }
case $code in
0) # The goal is reached: agents that still wait for a node are not needed.
  scancel --quiet --state=PENDING --user="$(id -un)" --name="$SLURM_JOB_NAME" ;;
1 | 2 | 3) # A failure that would come again.
  ;;
*) # Stopped before the goal. Not by scancel? Then the same job once more, from its checkpoints.
  if [ "$told" = USR1 ] || was_preempted; then
    scontrol requeue "$job" ||
      sbatch --job-name="$SLURM_JOB_NAME" --array="$SLURM_ARRAY_TASK_ID" "$0"
  fi ;;
esac
exit "$code"
"""


@dataclass(frozen=True)
class QueuedJob:
    """A job as ``squeue`` shows it."""

    id: str
    name: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"{self.id} {self.state.lower()} ({self.reason})"


def render_script(
    submission: Submission,
    cluster: ClusterSpec,
    *,
    study_file: Path,
    folder: Path,
    log_dir: Path,
    python: str,
    every_s: int | None = None,
) -> str:
    """The batch script of an array of agents.

    Args:
        submission: Names the jobs.
        cluster: What they need.
        study_file: As ``sweeper run`` is given it in ``folder``.
        folder: Working directory, the same on all nodes.
        log_dir: Takes a file for each job, with what it prints.
        python: What runs Python, as a shell reads it.
        every_s: Seconds between two starts of the whole; None for a single one.
    """
    parts = [
        _HEAD.format(
            study=submission.study,
            directives="\n".join(_directives(submission, cluster, log_dir)),
            folder=shlex.quote(str(folder)),
        )
    ]
    parts += [f"{line}\n" for line in cluster.setup or ()]
    if every_s is not None:
        parts.append(_SCHEDULE.format(every_s=every_s, job_name=submission.job_name))
    parts += [_RUN.format(python=python, study_file=shlex.quote(str(study_file))), _TAIL]
    return "".join(parts)


def _directives(submission: Submission, cluster: ClusterSpec, log_dir: Path) -> list[str]:
    most = f"%{cluster.array_parallelism}" if cluster.array_parallelism else ""
    options: dict[str, object] = {
        "job-name": submission.job_name,
        "array": f"0-{(cluster.jobs or 1) - 1}{most}",
        "output": f"{log_dir}/%A_%a.log",
        "open-mode": "append",
        "requeue": True,
        "signal": f"B:USR1@{_notice_s(cluster.time)}",
        "nodes": 1,
        "ntasks": 1,
        "time": _format_limit(cluster.time),
        "cpus-per-task": cluster.cpus,
        "mem": cluster.mem,
        "gpus-per-node": cluster.gpus_per_node,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        **(cluster.sbatch or {}),
    }
    return [
        f"#SBATCH --{key}" + ("" if value is True else f"={value}")
        for key, value in options.items()
        if value is not None
    ]


def _notice_s(limit_s: float | None) -> int:
    """A quarter of a short limit is enough to drain in, and leaves time to work."""
    return _NOTICE_S if limit_s is None else min(_NOTICE_S, int(limit_s / 4))


def _format_limit(limit_s: float | None) -> str | None:
    if limit_s is None:
        return None
    minutes, seconds = divmod(int(limit_s), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"


def sbatch_command(script: Path, begin: str | None) -> list[str]:
    """The command that submits a script; ``begin`` is a local time in ISO 8601."""
    return ["sbatch", "--parsable", *([f"--begin={begin}"] if begin else []), str(script)]


def sbatch(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Submit jobs; the id of their array.

    Raises:
        UncertainJobError: If nobody knows whether Slurm took them.
        LauncherError: If there is no Slurm here, or it refuses them.
    """
    return _slurm(command, environment).partition(";")[0].strip()


def queue(job_names: Sequence[str]) -> list[QueuedJob]:
    """This user's jobs whose name begins with one of these, as far as Slurm still shows them.

    Raises:
        LauncherError: If there is no Slurm here, or its controller does not answer.
    """
    lines = _slurm(["squeue", "--me", "--noheader", "--array", "--format=%i|%j|%T|%r"])
    jobs = [QueuedJob(*line.split("|", 3)) for line in lines.splitlines()]
    return [job for job in jobs if job.name.startswith(tuple(job_names))]


def cancel(jobs: Sequence[QueuedJob]) -> None:
    """Cancel jobs that :func:`queue` has just shown.

    Raises:
        LauncherError: If Slurm refuses.
    """
    if jobs:
        _slurm(["scancel", "--quiet", *(job.id for job in jobs)])


def _slurm(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
        )
    except FileNotFoundError as exc:
        raise LauncherError(
            f"{command[0]}: not found; submit on a machine that has Slurm's commands, or look at "
            "what would be submitted with --dry-run"
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise UncertainJobError(
            f"{command[0]}: no answer within {_PATIENCE_S:.0f} s; is Slurm's controller up? "
            "(scontrol ping)"
        ) from exc
    if done.returncode == 0:
        return done.stdout
    reason = done.stderr.strip() or f"exit code {done.returncode}"
    is_uncertain = any(words in reason for words in _UNCERTAIN)
    error = UncertainJobError if is_uncertain else LauncherError
    raise error(f"{command[0]}: {reason}")
