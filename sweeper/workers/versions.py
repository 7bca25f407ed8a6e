"""Which code computes a trial: versions of packages, and the git commit of the study's folder."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from sweeper.errors import TrainingError

_PACKAGES = ("torch", "torchvision", "optuna", "mlflow", "sweeper")


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
    tags = {f"version.{name}": version(name) for name in _PACKAGES}
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
