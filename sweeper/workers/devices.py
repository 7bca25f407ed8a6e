"""What this machine offers to workers, found out without importing torch where possible."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.config.grid import count_goal
from sweeper.config.settings import Precision
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.text import format_count
from sweeper.workers.cgroup import cpu_quota
from sweeper.workers.gpus import are_slices, may_have_accelerator, visible_names
from sweeper.workers.lane_plan import ALONE, LanePlan, plan_lanes

log = logging.getLogger("sweeper")

#: Where Slurm says how many cores a task was promised, and its job on this node: sites that bind
#: no task to its cores let it see them all.
_SLURM_CORES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


@dataclass(frozen=True)
class Placement:
    """Where one worker computes.

    Attributes:
        device: As torch names it in the worker.
        n_threads: Of torch, on the CPU.
        n_sharing: Workers of this agent on that device, this one included.
        gpus: The only ones that the worker sees, as the agent's torch names them; empty if it
            sees whatever the agent sees.
        visible: The same as CUDA_VISIBLE_DEVICES of the worker.
        lanes: How it trains.
    """

    device: str
    n_threads: int
    n_sharing: int
    gpus: tuple[str, ...] = ()
    visible: str = ""
    lanes: LanePlan = ALONE

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Placement":
        """What ``dataclasses.asdict`` and JSON have made of one."""
        gpus, lanes = tuple(record.pop("gpus")), LanePlan(**record.pop("lanes"))
        return cls(**record, gpus=gpus, lanes=lanes)

    @property
    def devices(self) -> tuple[str, ...]:
        """All that it may use, as the agent's torch names them."""
        return self.gpus or (self.device,)


def place_workers(spec: StudySpec) -> list[Placement]:
    """One placement for each worker that the study file asks for on this machine.

    ``auto`` is ``workers_per_device`` workers a GPU, or one a core on CPU: two processes with one
    thread each beat one with two. On SQLite it is one worker, as its claims are not atomic.
    Workers take the devices, or the groups of ``gpus_per_trial``, by turns, and the cores are
    divided among them.

    Raises:
        StudyError: If the device is not there, or cannot compute in the precision, or there are
            fewer GPUs than asked for.
    """
    devices = _devices(spec)
    if spec.run.precision == "tf32":
        _check_tf32(spec, devices)
    spots = _own_gpus(spec, devices) if _sees_own_gpus(spec) else _each(devices)
    n_workers = min(_n_workers_wanted(spec, spots), count_goal(spec))
    _tell_idle(spec, len(devices), n_workers)
    n_threads = max(1, min(available_cores() // n_workers, thread_limit()))
    taken = [spots[i % len(spots)] for i in range(n_workers)]
    return [
        replace(
            spot,
            n_threads=n_threads,
            n_sharing=taken.count(spot),
            lanes=plan_lanes(spec, spot.device, n_workers),
        )
        for spot in taken
    ]


def join_names(devices: Sequence[str]) -> str:
    """The devices of one worker for people: ``cuda:0+1`` for two."""
    first, *others = devices
    return "+".join([first, *(device.removeprefix("cuda:") for device in others)])


def _sees_own_gpus(spec: StudySpec) -> bool:
    """Whether a worker sees none but its own GPUs.

    A program does not know which is its own, and most take the first that they see.
    """
    return spec.run.gpus_per_trial is not None or "command" in spec.sections["train"]


def _each(devices: Sequence[str]) -> list[Placement]:
    return [Placement(device, n_threads=1, n_sharing=1) for device in devices]


def _own_gpus(spec: StudySpec, devices: Sequence[str]) -> list[Placement]:
    """The GPUs in groups of ``gpus_per_trial``; what is left over is in none."""
    if spec.run.gpus_per_trial is not None:
        _check_gpus(spec, spec.run.gpus_per_trial, devices)
    elif not devices[0].startswith("cuda"):
        return _each(devices)
    names = visible_names(1 + int(devices[-1].removeprefix("cuda:")))
    name_of = {f"cuda:{number}": name for number, name in enumerate(names)}
    groups = zip(*[iter(devices)] * (spec.run.gpus_per_trial or 1), strict=False)
    return [
        Placement("cuda:0", 1, 1, group, ",".join(name_of[gpu] for gpu in group))
        for group in groups
    ]


def _check_gpus(spec: StudySpec, n_each: int, devices: Sequence[str]) -> None:
    """See that a trial can have so many GPUs to itself here."""
    if not devices[0].startswith("cuda"):
        fault = (
            f"trials would run on {devices[0]}, as torch sees no GPU here that "
            "CUDA_VISIBLE_DEVICES could give them; drop this"
        )
    elif n_each > 1 and are_slices():
        fault = (
            "must be 1 where CUDA_VISIBLE_DEVICES names slices of a GPU (MIG), of which CUDA "
            f"shows a process one, got {n_each}"
        )
    elif n_each > len(devices):
        fault = (
            f"a trial is to have {n_each} GPUs, and here is {', '.join(devices)} alone; lower it, "
            "or go where there are more"
        )
    else:
        return
    raise StudyError(f"{spec.place('run.gpus_per_trial')}: {fault}")


def _tell_idle(spec: StudySpec, n_gpus: int, n_workers: int) -> None:
    """Say how many GPUs no trial has, where trials have them to themselves."""
    n_each = spec.run.gpus_per_trial
    if n_each is not None and (n_idle := n_gpus - n_workers * n_each) > 0:
        log.warning(
            "%s: %s with %s each: %d of %d GPUs here are left over",
            spec.place("run.gpus_per_trial"),
            format_count(n_workers, "worker"),
            format_count(n_each, "GPU"),
            n_idle,
            n_gpus,
        )


def thread_limit() -> int:
    """Threads that OpenMP starts at most.

    Told to use more, oneDNN waits for ever for those that never come: in the gradient of a
    convolution's weights in bf16, for one.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    return int(limit) if limit.isdecimal() and int(limit) > 0 else sys.maxsize


def _n_workers_wanted(spec: StudySpec, spots: Sequence[Placement]) -> int:
    run = spec.run
    if run.workers != "auto":
        _check_fits(spec, run.workers, len(spots))
        return run.workers
    if spec.is_on_sqlite:
        return 1
    if spots[0].device != "cpu":
        return len(spots) * run.workers_per_device
    n_cores = available_cores()
    if run.workers_per_device > 1:
        log.warning(
            "%s: %d is for GPUs, and there is none here: taking one worker a core, %d",
            spec.place("run.workers_per_device"),
            run.workers_per_device,
            n_cores,
        )
    return n_cores


def _check_fits(spec: StudySpec, n_workers: int, n_most: int) -> None:
    """See that each worker has its GPUs to itself, where that is asked for."""
    n_each = spec.run.gpus_per_trial
    if n_each is not None and n_workers > n_most:
        raise StudyError(
            f"{spec.place('run.workers')}: {n_workers} workers with {format_count(n_each, 'GPU')} "
            f"each (run.gpus_per_trial) need {n_workers * n_each}, and there is room for {n_most} "
            f"here; set workers: {n_most}, or auto"
        )


def _check_tf32(spec: StudySpec, devices: Sequence[str]) -> None:
    for device in devices[:1] if are_slices() else devices:  # this process sees one slice alone
        if not device.startswith("cuda") or "tf32" not in known_precisions(device):
            raise StudyError(
                f"{spec.place('run.precision')}: tf32 needs an NVIDIA GPU of compute capability "
                f"8.0 (Ampere) or later, and trials would run on {device}; use fp32 or bf16"
            )


def known_precisions(device: str) -> tuple[Precision, ...]:
    """Those for which a device has units; torch ignores the wish for tf32 where there are none.

    Args:
        device: As torch names it. Of Apple's GPUs, and of a CPU under a torch that does not tell,
            only fp32 is known.
    """
    import torch

    if device.startswith("cuda"):
        if torch.version.hip is not None:
            return "fp32", "bf16"
        is_ampere = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("fp32", "tf32", "bf16") if is_ampere else ("fp32",)
    if device == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        if any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16")):
            return "fp32", "bf16"
    return ("fp32",)


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may keep busy; a scheduler may have given it fewer than there are.

    A share of a core beyond whole ones counts for nothing: workers on it would wait in turns.

    Args:
        root: Where ``proc`` and the rest of the file tree are.
    """
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:
        n_cores = os.cpu_count() or 1
    promised = next((os.environ[name] for name in _SLURM_CORES if os.environ.get(name)), n_cores)
    quota = cpu_quota(root)
    return max(1, min(n_cores, int(promised), n_cores if quota is None else int(quota)))


def _devices(spec: StudySpec) -> list[str]:
    wanted = spec.run.device
    if wanted == "cpu" or (wanted == "auto" and not may_have_accelerator()):
        return ["cpu"]
    import torch  # Costs a second or two, so only where there may be an accelerator.

    n_gpus = torch.cuda.device_count()
    if _sees_own_gpus(spec):
        n_gpus = len(visible_names(n_gpus))
    there = [f"cuda:{i}" for i in range(n_gpus)]
    if torch.backends.mps.is_available():
        there.append("mps")
    if wanted == "auto":
        return there or ["cpu"]
    found = [device for device in there if device == wanted or device.split(":")[0] == wanted]
    if not found:
        raise StudyError(
            f"{spec.place('run.device')}: {wanted} is not there; torch {torch.__version__} sees "
            f"{', '.join(there) or 'no accelerator'}; use `device: auto`"
        )
    return found
