"""``sweeper cancel``: all agents of a study drain and end, and so do their jobs."""

import time
from collections.abc import Callable
from pathlib import Path

from sweeper.begun import load_begun, load_if_begun
from sweeper.errors import StudyError
from sweeper.launchers import kubernetes, slurm
from sweeper.launchers.submission import read_submissions, slurm_job_names
from sweeper.lease import LEASE_S, RENEWAL_S
from sweeper.order import DRAIN_S
from sweeper.paths import RunPaths
from sweeper.roster import Agent, render_agent
from sweeper.spec import StudySpec
from sweeper.storage import store_errors
from sweeper.study import SweepStudy
from sweeper.ticker import format_count

_POLL_S = 0.5
#: An agent that has not answered by then will not: it looks when it renews, then it drains.
_PATIENCE_S = RENEWAL_S + DRAIN_S + LEASE_S


def cancel_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> list[str]:
    """Ask every agent to put its trials back and end, and take its jobs out of the queue.

    Jobs that wait in Slurm go first, so that none starts meanwhile; what runs on is cancelled at
    the end, and so are Jobs of Kubernetes, which would replace the pods of agents that stopped.
    The study stays, and ``sweeper run`` goes on with it.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        note: Told what is waited for.

    Returns:
        Lines that say what was done.

    Raises:
        StudyError: If it was never submitted, and has not begun or its storage is out of reach.
        LauncherError: If the scheduler's queue cannot be had.
    """
    paths = RunPaths(root, spec.name)
    submitted, names = read_submissions(paths), slurm_job_names(paths)
    n_waiting = _cancel_jobs(names, "PENDING")
    lines = _drain(spec, root, note) if submitted else _stop_agents(load_begun(spec, root), note)
    for found in submitted:
        if found.to == "kubernetes":
            lines += kubernetes.delete(kubernetes.nearest_label(found.job_name)).splitlines()
    n_running = _cancel_jobs(names)
    if names:
        lines.append(f"{n_waiting + n_running} Slurm jobs cancelled, {n_waiting} of them waiting")
    return [*lines, f"the study goes on with: sweeper run {spec.path}"]


def _drain(spec: StudySpec, root: Path, note: Callable[[str], None]) -> list[str]:
    """Stop the agents of a study whose jobs are cancelled in any case."""
    try:
        study = load_if_begun(spec, root)
        return _stop_agents(study, note) if study else []
    except StudyError as exc:
        note(f"{exc}\nSo no agent could be asked to stop; their jobs are cancelled all the same")
        return []


def _cancel_jobs(names: list[str], state: str | None = None) -> int:
    """Take jobs out of Slurm's queue; how many, of those in that state or in any."""
    if not names:
        return 0
    jobs = [job for job in slurm.queue(names) if state in (None, job.state)]
    slurm.cancel(jobs)
    return len(jobs)


@store_errors()
def _stop_agents(study: SweepStudy, note: Callable[[str], None]) -> list[str]:
    told = study.agents()
    for agent in told:
        study.leases.tell_to_stop(agent.name)
    silent = _await_end(study, told, note)
    return [
        f"{format_count(len(told) - len(silent), 'agent')} stopped",
        *(f"no answer from {render_agent(agent)}" for agent in silent),
    ]


def _await_end(study: SweepStudy, told: list[Agent], note: Callable[[str], None]) -> list[Agent]:
    """Wait until they have ended; those that have not."""
    names = {agent.name for agent in told}
    deadline_s = time.monotonic() + _PATIENCE_S
    left, n_said = told, 0
    while left and time.monotonic() < deadline_s:
        if len(left) != n_said:
            note(f"{format_count(len(left), 'agent')} put their trials back ...")
            n_said = len(left)
        time.sleep(_POLL_S)
        left = [agent for agent in study.agents() if agent.name in names]
    return left
