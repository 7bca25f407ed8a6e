"""Which code computes a trial: versions of packages, and the git commit of the study's folder."""

import platform
import subprocess
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from sweeper.errors import TrainingError

_PACKAGES = ("torch", "torchvision", "optuna", "mlflow", "sweeper")
_GIT_S = 10.0


class _GitError(Exception):
    """git did not answer."""


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


def version_tags(folder: Path, own: Iterable[Path], note: Callable[[str], None]) -> dict[str, str]:
    """Tags that say what code ran: versions, and the git commit of the study's folder.

    Args:
        folder: Of the study.
        own: Folders that sweeper writes to; a change there is none of the code, nor is one that
            Python makes in ``__pycache__``.
        note: Told if the folder is in a repository and git does not say which commit it is.
    """
    tags = {f"version.{name}": version(name) for name in _PACKAGES}
    tags["version.python"] = platform.python_version()
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return tags
    try:
        top = Path(_git(folder, "rev-parse", "--show-toplevel"))
        commit = _git(top, "rev-parse", "--verify", "HEAD")
        changes = _git(top, "status", "--porcelain", "--", ".", *_exclude(top, own))
    except _GitError as exc:
        note(f"WARNING: the trials are not tagged with the git commit of {folder}: {exc}")
        return tags
    return {**tags, "git_commit": commit, "git_dirty": str(bool(changes)).lower()}


def _exclude(top: Path, own: Iterable[Path]) -> list[str]:
    """Git's words for what is no change."""
    inside = [path.resolve() for path in own if path.resolve().is_relative_to(top)]
    return [
        ":(exclude,glob)**/__pycache__/**",
        *(f":(exclude,literal){path.relative_to(top)}" for path in inside),
    ]


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_GIT_S
        )
    except subprocess.TimeoutExpired as exc:
        raise _GitError(f"git took more than {_GIT_S:.0f} s") from exc
    except OSError as exc:
        raise _GitError(f"git cannot be run: {exc.strerror}") from exc
    if done.returncode != 0:
        raise _GitError("git says: " + " ".join(done.stderr.split()))
    return done.stdout.strip()
