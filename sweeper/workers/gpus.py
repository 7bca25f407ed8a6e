"""The GPUs that this process may use, found out without importing torch."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import StudyError

log = logging.getLogger("sweeper")

#: Which GPUs CUDA shows to a process, by number or by another name of its own; ROCm reads it too.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: How the names of slices of a GPU begin (NVIDIA's multi-instance GPU).
_SLICE = "MIG-"
#: Where Slurm names the GPUs of a step, and of a job, by the node's own numbers.
_SLURM_GPUS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


def may_have_accelerator(dev: Path = Path("/dev")) -> bool:
    """Whether torch may find one, told without torch: there is a device, and it is not hidden.

    Args:
        dev: Where the system's device files are.
    """
    if sys.platform == "darwin":
        return True
    # The first that is no device ends the list; Slurm writes NoDevFiles for a job without GPUs.
    first = os.environ.get(VISIBLE, "0").partition(",")[0].strip()
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
    if name is None or VISIBLE in os.environ:
        return
    own, usable = os.environ[name], _usable_gpus(dev)
    if usable <= set(own.split(",")):
        return
    if not re.fullmatch(r"\d+(,\d+)*", own):
        raise StudyError(
            f"${name}: must be numbers of GPUs such as 0,1, got {own!r}; set "
            "CUDA_VISIBLE_DEVICES to those of this job"
        )
    os.environ[VISIBLE] = own
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


def visible_names(n_seen: int) -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` of another process calls the GPUs that this one may use.

    Args:
        n_seen: How many torch sees here. Of slices of a GPU, CUDA shows a process no more than
            one, and another process may see another.

    Returns:
        In the order in which torch counts them: numbers, UUIDs, or names of slices.
    """
    names = _names()
    if names is None:
        return [str(number) for number in range(n_seen)]
    return names[: len(names) if n_seen and are_slices() else n_seen]


def are_slices() -> bool:
    """Whether this process was given slices of GPUs instead of whole ones."""
    return (_names() or [""])[0].startswith(_SLICE)


def _names() -> list[str] | None:
    """Those that were given to this process; None if all are."""
    given = os.environ.get(VISIBLE)
    return None if given is None else [name.strip() for name in given.split(",")]


def see_only(visible: str) -> None:
    """Show CUDA, which must not have started, only those GPUs in this process and its children.

    Args:
        visible: Names as in ``CUDA_VISIBLE_DEVICES``; empty changes nothing.
    """
    if visible:
        os.environ[VISIBLE] = visible


@contextmanager
def seeing_only(visible: str) -> Iterator[None]:
    """The same within a ``with`` block: for processes that it starts, and a first use of CUDA."""
    before = os.environ.get(VISIBLE)
    see_only(visible)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE] = before
        else:
            os.environ.pop(VISIBLE, None)
