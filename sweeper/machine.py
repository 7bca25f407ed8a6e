"""What this machine offers to workers, found out without importing torch where possible."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sweeper import __version__
from sweeper.errors import StudyError, TrainingError
from sweeper.spec import StudySpec


@dataclass(frozen=True)
class Placement:
    """Where one worker computes: a device as torch names it, and torch's threads."""

    device: str
    n_threads: int


def place_workers(spec: StudySpec) -> list[Placement]:
    """One placement for each worker that the study file asks for on this machine.

    ``auto`` is one worker a GPU, or one a core on CPU: two processes with one thread each beat
    one with two. The cores are divided among the workers.
    On SQLite it is one worker, as its claims are not atomic.

    Raises:
        StudyError: If the device is not there.
    """
    n_cores = available_cores()
    devices = _devices(spec)
    wanted = spec.run.workers
    if wanted == "auto":
        wanted = len(devices) if devices[0] != "cpu" else n_cores
        if spec.is_on_sqlite:
            wanted = 1
    n_workers = min(wanted, spec.n_trials)
    n_threads = max(1, n_cores // n_workers)
    return [Placement(devices[i % len(devices)], n_threads) for i in range(n_workers)]


def available_cores() -> int:
    """Cores that this process may use; a scheduler may have given it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices(spec: StudySpec) -> list[str]:
    wanted = spec.run.device
    if wanted == "cpu" or (wanted == "auto" and not _may_have_accelerator()):
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


def _may_have_accelerator() -> bool:
    devices = ("nvidia[0-9]*", "kfd", "dxg")  # CUDA, ROCm, and CUDA under WSL
    return sys.platform == "darwin" or any(any(Path("/dev").glob(name)) for name in devices)


def check_torch_pair() -> None:
    """See that torch and torchvision belong together.

    Raises:
        TrainingError: If they do not; torchvision's operators are built against one torch.
    """
    try:
        import torchvision  # noqa: F401  (registers its operators with torch)
    except (ImportError, RuntimeError, OSError) as exc:
        raise TrainingError(
            f"torch {version('torch')} and torchvision {version('torchvision')} do not belong "
            f"together ({str(exc).splitlines()[0]}): reinstall both at once with "
            "`pip install --force-reinstall torch torchvision`"
        ) from exc


def version_tags(folder: Path) -> dict[str, str]:
    """Tags that say what code ran: versions, and the git commit of the study's folder."""
    packages = ("torch", "torchvision", "optuna", "mlflow")
    tags = {f"version.{name}": version(name) for name in packages}
    tags["version.sweeper"] = __version__
    tags["version.python"] = platform.python_version()
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        tags["git_commit"] = commit
        tags["git_dirty"] = str(bool(_git(folder, "status", "--porcelain"))).lower()
    return tags


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
