"""What this machine offers to workers, found out without importing torch where possible."""

import logging
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from sweeper.config.grid import count_goal
from sweeper.config.settings import Precision
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.workers.cgroup import cpu_quota

log = logging.getLogger("sweeper")

#: Where Slurm says how many cores a task was promised, and its job on this node: sites that bind
#: no task to its cores let it see them all.
_SLURM_CORES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
#: Where Slurm names the GPUs of a step, and of a job, by the node's own numbers.
_SLURM_GPUS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


@dataclass(frozen=True)
class Placement:
    """Where one worker computes.

    Attributes:
        device: As torch names it.
        n_threads: Of torch, on the CPU.
        n_sharing: Workers of this agent on that device, this one included.
    """

    device: str
    n_threads: int
    n_sharing: int


def place_workers(spec: StudySpec) -> list[Placement]:
    """One placement for each worker that the study file asks for on this machine.

    ``auto`` is ``workers_per_device`` workers a GPU, or one a core on CPU: two processes with one
    thread each beat one with two. On SQLite it is one worker, as its claims are not atomic.
    Workers take the devices by turns, and the cores are divided among them.

    Raises:
        StudyError: If the device is not there, or cannot compute in the precision.
    """
    devices = _devices(spec)
    if spec.run.precision == "tf32":
        _check_tf32(spec, devices)
    n_workers = min(_n_workers_wanted(spec, devices), count_goal(spec))
    n_threads = max(1, min(available_cores() // n_workers, _thread_limit()))
    taken = [devices[i % len(devices)] for i in range(n_workers)]
    return [Placement(device, n_threads, taken.count(device)) for device in taken]


def _thread_limit() -> int:
    """Threads that OpenMP starts at most.

    Told to use more, oneDNN waits for ever for those that never come: in the gradient of a
    convolution's weights in bf16, for one.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    return int(limit) if limit.isdecimal() and int(limit) > 0 else sys.maxsize


def _n_workers_wanted(spec: StudySpec, devices: list[str]) -> int:
    run = spec.run
    if run.workers != "auto":
        return run.workers
    if spec.is_on_sqlite:
        return 1
    if devices != ["cpu"]:
        return len(devices) * run.workers_per_device
    n_cores = available_cores()
    if run.workers_per_device > 1:
        log.warning(
            "%s: %d is for GPUs, and there is none here: taking one worker a core, %d",
            spec.place("run.workers_per_device"),
            run.workers_per_device,
            n_cores,
        )
    return n_cores


def _check_tf32(spec: StudySpec, devices: list[str]) -> None:
    for device in devices:
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


def may_have_accelerator(dev: Path = Path("/dev")) -> bool:
    """Whether torch may find one, told without torch: there is a device, and it is not hidden.

    Args:
        dev: Where the system's device files are.
    """
    if sys.platform == "darwin":
        return True
    # The first that is no device ends the list; Slurm writes NoDevFiles for a job without GPUs.
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if first in ("", "-1", "NoDevFiles"):
        return False
    devices = ("nvidia[0-9]*", "kfd", "dxg")  # CUDA, ROCm, and CUDA under WSL
    return any(any(dev.glob(name)) for name in devices)


def keep_to_own_gpus(dev: Path = Path("/dev")) -> None:
    """Hide the GPUs of other Slurm jobs from this process and its children, if Slurm does not.

    Slurm hides them by ``CUDA_VISIBLE_DEVICES`` or, with ``ConstrainDevices``, by a control group.
    Where a site has neither, it still names the job's own. Call it before CUDA starts.

    Args:
        dev: Where the system's device files are.

    Raises:
        StudyError: If Slurm names them in another way than by number.
    """
    name = next((name for name in _SLURM_GPUS if os.environ.get(name)), None)
    if name is None or "CUDA_VISIBLE_DEVICES" in os.environ:
        return
    own, usable = os.environ[name], _usable_gpus(dev)
    if usable <= set(own.split(",")):
        return
    if not re.fullmatch(r"\d+(,\d+)*", own):
        raise StudyError(
            f"${name}: must be numbers of GPUs such as 0,1, got {own!r}; set "
            "CUDA_VISIBLE_DEVICES to those of this job"
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = own
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order in which Slurm counts
    log.warning(
        "Slurm gives this job GPU %s of %d and does not hide the others: using only its own, by "
        "CUDA_VISIBLE_DEVICES",
        own,
        len(usable),
    )


def _usable_gpus(dev: Path) -> set[str]:
    """Numbers of the NVIDIA GPUs that this process may open; a control group may forbid some."""
    files = [path for path in dev.glob("nvidia[0-9]*") if os.access(path, os.R_OK | os.W_OK)]
    return {path.name.removeprefix("nvidia") for path in files}
