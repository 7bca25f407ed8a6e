"""Who works on a study: what each agent says of itself in the storage, and how long ago."""

import os
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.config.names import Line
from sweeper.durable import Step
from sweeper.study.attributes import StudyAttributes, read_attribute
from sweeper.study.leases import Lease, Leases
from sweeper.study.presence import is_present

_AGENT = "sweeper.agent."


@dataclass(frozen=True)
class AgentInfo:
    """What an agent says of itself when it begins.

    Attributes:
        host: On which it runs.
        pid: Its process there.
        job: Scheduler and id of the job that it is, ``slurm 17_3``; empty outside of one.
        devices: Of its workers, one entry a worker, as torch names them; ``cuda:0+1`` of one that
            has two.
        log: The file that takes what it prints; empty if that is a terminal or a pipe.
        begun_s: When, in seconds since the Unix epoch by its own clock.
    """

    host: Line
    pid: int
    job: Line
    devices: Sequence[Line]
    log: Line
    begun_s: float

    @classmethod
    def own(cls, devices: Sequence[str], begun_s: float) -> "AgentInfo":
        """Of this process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            job=job_of(os.environ),
            devices=list(devices),
            log=_output_file(),
            begun_s=begun_s,
        )


@dataclass(frozen=True)
class AgentAtWork:
    """An agent as others see it.

    Attributes:
        name: Of its lease.
        info: What it said of itself.
        seen_s: Its last sign of life, in seconds since the Unix epoch by its own clock.
        is_stopping: It was asked to stop.
    """

    name: str
    info: AgentInfo
    seen_s: float
    is_stopping: bool

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        own = {"name": self.name, "seen_s": self.seen_s, "stopping": self.is_stopping}
        return {**asdict(self.info), **own}


def register_agent(attributes: StudyAttributes, agent: str, info: AgentInfo) -> None:
    """Write what an agent says of itself into the study's storage."""
    attributes.put(_AGENT + agent, asdict(info), Step.AGENT)


def agents_at_work(
    attributes: StudyAttributes, leases: Leases, presence_dir: Path
) -> list[AgentAtWork]:
    """Those that hold a lease, the eldest first.

    One that died without a word on another machine stays among them until somebody takes its
    trials over; its last sign of life tells.
    """
    said = attributes.read()
    found = [
        AgentAtWork(lease.agent, _info(lease, said), lease.renewed_s, lease.is_told_to_stop)
        for lease in leases.held()
        if _AGENT + lease.agent in said
        and not (lease.is_here and not is_present(presence_dir, lease.agent))
    ]
    return sorted(found, key=lambda agent: agent.info.begun_s)


def _info(lease: Lease, attributes: Mapping[str, Any]) -> AgentInfo:
    what = f"what agent {lease.agent} says of itself"
    return read_attribute(AgentInfo, attributes[_AGENT + lease.agent], what)


def render_agent(agent: AgentAtWork) -> str:
    """One line for people: where it runs, on what, and its last sign of life."""
    info = agent.info
    devices = ", ".join(
        f"{info.devices.count(device)} x {device}" for device in dict.fromkeys(info.devices)
    )
    ago_s = max(0.0, time.time() - agent.seen_s)
    where = f"{info.host} ({info.job})" if info.job else f"{info.host} (pid {info.pid})"
    parts = [where, devices, f"seen {ago_s:.0f} s ago"]
    parts += ["is stopping"] if agent.is_stopping else []
    parts += [f"log {info.log}"] if info.log else []
    return ", ".join(parts)


def job_of(environment: Mapping[str, str]) -> str:
    """Scheduler and id of the job that a process of that environment is; empty outside of one."""
    if "SLURM_ARRAY_JOB_ID" in environment:
        task = environment.get("SLURM_ARRAY_TASK_ID", "")
        return f"slurm {environment['SLURM_ARRAY_JOB_ID']}_{task}"
    if "SLURM_JOB_ID" in environment:
        return f"slurm {environment['SLURM_JOB_ID']}"
    if "KUBERNETES_SERVICE_HOST" in environment:
        return f"kubernetes {socket.gethostname()}"
    return ""


def _output_file() -> str:
    try:
        is_file = stat.S_ISREG(os.fstat(1).st_mode)
        path = os.readlink("/proc/self/fd/1") if is_file else ""
        return path if path.isprintable() else ""
    except OSError:  # closed, or a system without /proc
        return ""
