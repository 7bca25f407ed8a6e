"""``sweeper cancel``: all agents of a study drain and end, and so do their jobs."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.config import StudySpec
from sweeper.errors import LauncherError, StudyError
from sweeper.launchers import kubernetes
from sweeper.launchers.kubernetes.launcher import place_of
from sweeper.launchers.slurm import commands as slurm
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths
from sweeper.study.agents import Agent, render_agent
from sweeper.study.find import load_begun, load_if_begun
from sweeper.study.leases import LEASE_S, RENEWAL_S
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.text import format_count
from sweeper.workers.protocol import DRAIN_S

_POLL_S = 0.5
#: An agent that has not answered by then will not: it looks when it renews, then it drains.
_PATIENCE_S = RENEWAL_S + DRAIN_S + LEASE_S
#: An agent whose lease has ended sends the rest to MLflow, and its job ends with it.
_SENDING_S = 60.0
#: Slurm kills a job that it cancels after 30 s by default. One that was ending may have put
#: itself, or the next of its schedule, into the queue, so that takes more than one round.
_ENDING_S = 120.0
_QUEUE_POLL_S = 3.0


def cancel_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> list[str]:
    """Ask every agent to put its trials back and end, and take its jobs out of the queue.

    Jobs of Kubernetes go first, which would replace pods whose agents stopped, and those that
    wait in Slurm, so that none starts meanwhile. Jobs of agents that were asked to stop may end by
    themselves; what is left then is cancelled. The study stays, and ``sweeper run`` goes on
    with it.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        note: Told what is waited for.

    Returns:
        Lines that say what was done.

    Raises:
        StudyError: If it was never submitted, and has not begun or its storage is out of reach.
        LauncherError: With all that could not be cancelled, once everything else is.
        StoreError: If the study's folder cannot be written.
    """
    paths = RunPaths(root, spec.name)
    failures: list[str] = []
    submitted = read_submissions(paths, lambda damage: failures.append(str(damage)))
    if submitted or failures:
        lines = _cancel_submitted(spec, paths, submitted, failures, note)
    else:
        lines, told = _stop_agents(load_begun(spec, root), note)
        if jobs := [agent.card.job for agent in told if agent.card.job]:
            lines.append(
                f"not submitted from here, so their scheduler may start them again: "
                f"{', '.join(jobs)}; call cancel where they were submitted"
            )
    if failures:
        for line in lines:
            note(line)
        raise LauncherError("\n".join(dict.fromkeys(failures)))
    return [*lines, f"the study goes on with: sweeper run {spec.path}"]


def _cancel_submitted(
    spec: StudySpec,
    paths: RunPaths,
    submitted: list[Submission],
    failures: list[str],
    note: Callable[[str], None],
) -> list[str]:
    lines = []
    for found in submitted:
        if found.to == "kubernetes":
            with _kept_in(failures):
                lines += _delete_pods(found, paths)
    on_slurm = [found for found in submitted if found.to == "slurm"]
    names = [found.job_name for found in on_slurm]
    waiting: set[str] = set()
    if names:
        with _kept_in(failures):
            waiting = _cancel_jobs(job for job in slurm.queue(names) if job.state == "PENDING")
    said, told = _drain(spec, paths.root, note)
    lines += said
    if names:
        with _kept_in(failures):
            cancelled = waiting | _empty_queue(names, _SENDING_S if told else 0.0, note)
            lines.append(
                f"{format_count(len(cancelled), 'Slurm job')} cancelled, {len(waiting)} of them "
                "waiting"
            )
            lines += [line for found in on_slurm for line in _close(found, paths)]
    return lines


def _close(submission: Submission, paths: RunPaths) -> list[str]:
    """Know of it no more, unless Slurm may still take its jobs."""
    if submission.job is None:
        return [f"nobody knows whether Slurm takes {submission.job_name}: see `sweeper doctor`"]
    submission.close(paths)
    return []


@contextmanager
def _kept_in(failures: list[str]) -> Iterator[None]:
    """Go on with the rest should a scheduler be absent or refuse."""
    try:
        yield
    except LauncherError as exc:
        failures.append(str(exc))


def _delete_pods(submission: Submission, paths: RunPaths) -> list[str]:
    name, place = kubernetes.nearest_label(submission.job_name), place_of(submission)
    said = kubernetes.delete(name, place).splitlines()
    if said or submission.context is not None:
        submission.close(paths)
    return said or [
        f"Kubernetes has nothing named {name} in {place}: it has ended, or is elsewhere"
    ]


def _drain(
    spec: StudySpec, root: Path, note: Callable[[str], None]
) -> tuple[list[str], list[Agent]]:
    """Stop the agents of a study whose jobs are cancelled in any case; as :func:`_stop_agents`."""
    try:
        study = load_if_begun(spec, root)
        return _stop_agents(study, note) if study else ([], [])
    except StudyError as exc:
        note(f"{exc}\nSo no agent could be asked to stop; their jobs are cancelled all the same")
        return [], []


def _empty_queue(names: list[str], patience_s: float, note: Callable[[str], None]) -> set[str]:
    """Let jobs that run end by themselves for so long, then cancel until the queue has none.

    Returns:
        Ids of those that were cancelled.

    Raises:
        LauncherError: If Slurm fails, or does not end them.
    """
    begun_s, cancelled, n_said = time.monotonic(), set[str](), 0
    while jobs := slurm.queue(names):
        waited_s = time.monotonic() - begun_s
        if waited_s > patience_s + _ENDING_S:
            raise LauncherError(f"squeue: still shows {', '.join(map(str, jobs))}; cancel again")
        if len(jobs) != n_said:
            note(f"{format_count(len(jobs), 'Slurm job')} to end ...")
            n_said = len(jobs)
        due = [job for job in jobs if job.state == "PENDING" or waited_s >= patience_s]
        cancelled |= _cancel_jobs(job for job in due if job.state != "COMPLETING")
        time.sleep(_QUEUE_POLL_S)
    return cancelled


def _cancel_jobs(jobs: Iterable[slurm.QueuedJob]) -> set[str]:
    due = list(jobs)
    slurm.cancel(due)
    return {job.id for job in due}


@store_errors()
def _stop_agents(study: SweepStudy, note: Callable[[str], None]) -> tuple[list[str], list[Agent]]:
    """What came of it, and the agents that there were."""
    told = study.agents()
    for agent in told:
        study.leases.tell_to_stop(agent.name)
    silent = _await_end(study, told, note)
    lines = [
        f"{format_count(len(told) - len(silent), 'agent')} stopped",
        *(f"no answer from {render_agent(agent)}" for agent in silent),
    ]
    return lines, told


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
