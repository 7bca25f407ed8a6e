"""The batch script of a study's agents on Slurm: text that an administrator can read.

submitit, which pickles a function and watches it, is not used: what runs here is a command line
that keeps its own checkpoints, and a site wants to see it as text.
"""

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

from sweeper.config.cluster import ClusterSpec
from sweeper.errors import SpecError
from sweeper.launchers.schedule import Schedule
from sweeper.launchers.submission import Submission

#: Seconds between USR1 and the time limit: an agent puts its trials back within half of it.
_NOTICE_S = 60
#: What sbatch reads before a directive that says the same and is not called so.
_VARIABLES = {
    "array": ("ARRAY_INX",),
    "output": ("ERROR",),
    "time": ("TIMELIMIT",),
    "mem": ("MEM_PER_NODE", "MEM_PER_CPU", "MEM_PER_GPU"),
    "gpus-per-node": ("GPUS", "GPUS_PER_TASK"),
    "requeue": ("NO_REQUEUE",),
    "no-requeue": ("REQUEUE",),
    "switches": ("REQ_SWITCH",),
}
#: No directive says it; but an agent needs the environment, and nobody waits for its end.
_UNWANTED = ("SBATCH_EXPORT", "SBATCH_WAIT")

_LINE_SIGNS = 90

_HEAD = """\
#!/bin/bash
# Agents of sweeper: each works on study {study} until its goal is reached, then all end.
# Any number may run at once, and one may be started twice: the study's storage keeps order.
{directives}

# Not SLURM_JOB_ID: that of the last task is the whole array's.
job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID told= agent=
trap 'told+=USR1; [ -z "$agent" ] || kill -USR1 "$agent"' USR1  # the time limit, or preemption
trap 'told+=TERM' TERM  # by scancel; Slurm sends it to the agent as well
cd {folder} || exit 1
"""
_LEAVE = """\
set +eu  # should a line of the setup have set them
unset {unset} \\
  "${{!SQUEUE_@}}" "${{!SCANCEL_@}}"

shows() {{ scontrol show job "$job" | grep -Eq "$1"; }}
again() {{ env -u SLURM_RESTART_COUNT sbatch "$@" "$0"; }}
is_back() {{ # in the queue, as Slurm has put it there by itself
  now=$(scontrol show job "$job" | grep -o 'Restarts=[0-9]*')
  [ "${{now#*=}}" -gt "${{SLURM_RESTART_COUNT:-0}}" ]
}}
is_unfinished() {{ # which it is not for a user who has called scancel
  case $told in
  *USR1) ;;
  *USR1*) shows 'Reason=TimeLimit' ;;  # a grace time that is over puts the job back by itself
  *) shows 'PreemptTime=[0-9]' ;;
  esac
}}
leave() {{
  case $1 in
  0) # The goal is reached: agents that still wait for a node are not needed.
    scancel --quiet --state=PENDING --user="$(id -un)" --name="$SLURM_JOB_NAME" ;;
  1 | 2 | 3) # A failure that would come again.
    ;;
  *) # Stopped before the goal: the same job once more, from its checkpoints.
    if is_unfinished; then
      scontrol requeue "$job" || is_back ||
        again --job-name="$SLURM_JOB_NAME" --array="$SLURM_ARRAY_TASK_ID"
    fi ;;
  esac
  exit "$1"
}}
[ -z "$told" ] || leave 4
"""
_SCHEDULE = """
# The next one first, so that the schedule goes on whatever becomes of this one.
this=${{SLURM_JOB_NAME#{job_name}}} this=${{this#-}}  # when it was planned; empty for the first
next=$((${{this:-{begin_s}}} + {every_s}))
late=$(($(date +%s) - next))
[ "$late" -lt 0 ] || next=$((next + late / {every_s} * {every_s} + {every_s}))
plan_next() {{
  local found
  found=$(squeue --me --all --noheader --name={job_name}-"$next") || return
  [ -n "$found" ] ||
    again --job-name={job_name}-"$next" --begin="$(date -d "@$next" +%FT%T)"
}}
if [ "$SLURM_ARRAY_TASK_ID" = 0 ]; then
  for pause in 0 5 15 40; do sleep "$pause"; plan_next && break; done ||
    echo "the schedule ends here, as Slurm did not take its next job: submit it again" >&2
fi
if squeue --me --all --noheader --states=PENDING,RUNNING,SUSPENDED --format=%j |
  awk -v name={job_name} -v this="${{this:-0}}" \\
    'index($0, name) == 1 && substr($0, length(name) + 2) + 0 < this + 0 {{ found = 1 }}
    END {{ exit !found }}'
then
  echo "an earlier one of the schedule is still at work" >&2
  exit 0
fi
[ -z "$told" ] || leave 4
"""
_RUN = """
{python} -m sweeper run {study} &
agent=$!
[ -z "$told" ] || kill -USR1 "$agent"
while :; do
  wait "$agent"
  code=$?
  kill -0 "$agent" 2>/dev/null || break  # else a signal has ended the wait, not the agent
done
leave "$code"
"""


@dataclass(frozen=True)
class AgentCommand:
    """How a job starts its agent.

    Attributes:
        python: What runs Python, as a shell reads it.
        study_file: As ``sweeper run`` is given it in ``folder``.
        folder: Working directory, the same on all nodes.
        overrides: What follows the study file; each is one line.
    """

    python: str
    study_file: Path
    folder: Path
    overrides: tuple[str, ...] = ()


def render_script(
    submission: Submission,
    cluster: ClusterSpec,
    command: AgentCommand,
    *,
    log_dir: Path,
    schedule: Schedule | None = None,
) -> str:
    """The batch script of an array of agents.

    Args:
        submission: Names the jobs.
        cluster: What they need.
        command: What each of them runs.
        log_dir: Takes a file for each job, with what it prints.
        schedule: When the whole starts again; None for once.

    Raises:
        SpecError: If a folder or the study file has a name that does not stand in one line.
    """
    for path in (command.folder, command.study_file, log_dir):
        if not str(path).isprintable():
            raise SpecError(
                f"{str(path)!r}: a batch script names it in one line, so it must be printable; "
                "rename it, or submit from another folder"
            )
    options: dict[str, object] = {
        "job-name": submission.job_name,
        "output": f"{log_dir}".replace("%", "%%") + "/%A_%a.log",
        **_options(cluster),
    }
    head = _HEAD.format(
        study=submission.study,
        directives="\n".join(_directive(key, value) for key, value in options.items()),
        folder=shlex.quote(str(command.folder)),
    )
    setup = [f"{line}\n" for line in cluster.setup or ()]
    unset = textwrap.wrap(" ".join(overruling_variables(cluster)), _LINE_SIGNS)
    leave = _LEAVE.format(unset=" \\\n  ".join(unset))
    again = "" if schedule is None else _next_start(submission.job_name, schedule)
    study = shlex.join([str(command.study_file), *command.overrides])
    run = _RUN.format(python=command.python, study=study)
    return "".join([head, *setup, leave, again, run])


def _next_start(job_name: str, schedule: Schedule) -> str:
    return _SCHEDULE.format(job_name=job_name, begin_s=schedule.begin_s, every_s=schedule.every_s)


def overruling_variables(cluster: ClusterSpec) -> list[str]:
    """Variables of the environment that sbatch must not see, as they go over its script."""
    words = [
        word
        for key in ("job-name", "output", *_options(cluster))
        for word in (key.upper().replace("-", "_"), *_VARIABLES.get(key, ()))
    ]
    return [*(f"SBATCH_{word}" for word in words), *_UNWANTED]


def _options(cluster: ClusterSpec) -> dict[str, object]:
    """Options of sbatch but those that differ from submission to submission."""
    most = f"%{cluster.array_parallelism}" if cluster.array_parallelism else ""
    options: dict[str, object] = {
        "array": f"0-{(cluster.jobs or 1) - 1}{most}",
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
    return {key: value for key, value in options.items() if value is not None}


def _directive(key: str, value: object) -> str:
    """A line for sbatch, which reads quotes as a shell does."""
    return f"#SBATCH --{key}" + ("" if value is True else f"={shlex.quote(str(value))}")


def _notice_s(limit_s: float | None) -> int:
    """A quarter of a short limit is enough to drain in, and leaves time to work."""
    return _NOTICE_S if limit_s is None else min(_NOTICE_S, int(limit_s / 4))


def _format_limit(limit_s: float | None) -> str | None:
    if limit_s is None:
        return None
    minutes, seconds = divmod(int(limit_s), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
