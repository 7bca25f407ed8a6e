"""The page of published figures: a section for each benchmark, in the same words and numbers."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch

from sweeper.workers.devices import available_cores

HERE = Path(__file__).resolve().parent
PAGE = HERE / "RESULTS.md"
PACKAGES = ("torch", "torchvision", "optuna", "mlflow")


def write_section(title: str, body: str, page: Path = PAGE) -> None:
    """Replace the section of that title, or add it at the end."""
    text = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    others = [
        section.rstrip()
        for section in re.split(r"\n(?=## )", text)
        if section.partition("\n")[0] != f"## {title}"
    ]
    section = f"## {title}\n\n{body.strip()}"
    page.write_text("\n\n".join([*others, section]) + "\n", encoding="utf-8")


def describe_machine(command: str) -> dict[str, str]:
    """What a reader must know to place the figures, by name.

    Call it before anything is measured: it reads the load average.

    Args:
        command: That makes the figures, as typed in the root of the repository; paths of this
            machine do not belong in it.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "Device": f"{_cpu_model()}, {available_cores()} cores; GPU: {gpu}",
        "Load average before the first run": f"{os.getloadavg()[0]:.2f}",
        "Versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES)
        + f", Python {platform.python_version()}",
        "Commit": _commit(),
        "Command": f"`{command}`",
    }


def render_facts(facts: Mapping[str, str]) -> str:
    """A list with an entry for each fact."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def render_spread(values: Sequence[float], digits: int = 1) -> str:
    """``median (min - max)`` with so many digits after the point."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def sweeper_commit() -> str:
    """The last one that changed ``sweeper``."""
    command = ["git", "-C", str(HERE.parent), "log", "-1", "--format=%H", "--", "sweeper"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(HERE.parent), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    measured = ["sweeper", "benchmarks", ":!benchmarks/RESULTS.md"]
    try:
        head, is_dirty = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", *measured)
    except FileNotFoundError as exc:
        return f"not known: {exc}"
    return (head or "not known") + (" with uncommitted changes" if is_dirty else "")
