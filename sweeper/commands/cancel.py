"""``sweeper cancel``: all agents of a study drain and end, and so do their jobs."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.config.study import StudySpec
from sweeper.errors import LauncherError, StudyError
from sweeper.launchers.base import by_launcher
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths
from sweeper.study.agents import AgentAtWork, render_agent
from sweeper.study.find import find_study
from sweeper.study.leases import LEASE_S, RENEWAL_S
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.text import format_count
from sweeper.workers.protocol import DRAIN_S

_POLL_S = 0.5
#: An agent that has not answered by then will not: it looks when it renews, then it drains.
_ANSWER_S = RENEWAL_S + DRAIN_S + LEASE_S
#: An agent whose lease has ended sends the rest to MLflow, and its job ends with it.
_SENDING_S = 60.0


def cancel_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> list[str]:
    """Ask every agent to put its trials back and end, and take its jobs out of the queue.

    Each scheduler is kept from starting further agents before the ones at work are asked to stop.
    Their jobs may end by themselves; what is left then is cancelled. The study stays, and
    ``sweeper run`` goes on with it.

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
        lines, told = _stop_agents(find_study(spec, root).open_begun(), note)
        if jobs := [agent.info.job for agent in told if agent.info.job]:
            lines.append(
                f"not submitted from here, so their scheduler may start them again: "
                f"{', '.join(jobs)}; call cancel where they were submitted"
            )
    if failures:
        for line in lines:
            note(line)
        raise LauncherError("\n".join(dict.fromkeys(failures)))
    return [*lines, f"the study goes on with: {spec.command('run')}"]


def _cancel_submitted(
    spec: StudySpec,
    paths: RunPaths,
    submitted: list[Submission],
    failures: list[str],
    note: Callable[[str], None],
) -> list[str]:
    cancellations = [
        cancellation
        for launcher, submissions in by_launcher(submitted)
        for cancellation in launcher.cancel(submissions, paths)
    ]
    lines = []
    for cancellation in cancellations:
        with _kept_in(failures):
            lines += cancellation.begin()
    said, told = _drain(spec, paths.root, note)
    lines += said
    for cancellation in cancellations:
        with _kept_in(failures):
            lines += cancellation.finish(_SENDING_S if told else 0.0, note)
    return lines


@contextmanager
def _kept_in(failures: list[str]) -> Iterator[None]:
    """Go on with the rest should a scheduler be absent or refuse."""
    try:
        yield
    except LauncherError as exc:
        failures.append(str(exc))


def _drain(
    spec: StudySpec, root: Path, note: Callable[[str], None]
) -> tuple[list[str], list[AgentAtWork]]:
    """Stop the agents of a study whose jobs are cancelled in any case; as :func:`_stop_agents`."""
    try:
        study = find_study(spec, root).open()
        return _stop_agents(study, note) if study else ([], [])
    except StudyError as exc:
        note(f"{exc}\nSo no agent could be asked to stop; their jobs are cancelled all the same")
        return [], []


@store_errors()
def _stop_agents(
    study: SweepStudy, note: Callable[[str], None]
) -> tuple[list[str], list[AgentAtWork]]:
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


def _await_end(
    study: SweepStudy, told: list[AgentAtWork], note: Callable[[str], None]
) -> list[AgentAtWork]:
    """Wait until they have ended; those that have not."""
    names = {agent.name for agent in told}
    deadline_s = time.monotonic() + _ANSWER_S
    left, n_said = told, 0
    while left and time.monotonic() < deadline_s:
        if len(left) != n_said:
            note(f"{format_count(len(left), 'agent')} put their trials back ...")
            n_said = len(left)
        time.sleep(_POLL_S)
        left = [agent for agent in study.agents() if agent.name in names]
    return left
