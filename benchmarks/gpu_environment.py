"""What ``scripts/gpu-check`` does before it measures: the standard library alone is at hand.

Everything lies in a folder of its own, which is gone afterwards, but for what is found.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE, ARCHIVE = "2bacb41", "baseline.tar.gz"
#: Of all that the command does; what is left to six minutes is for its end.
_LIMIT_S = 350.0
#: A machine whose GPU hangs does not answer at all.
_TORCH_LIMIT_S = 60.0
#: Imports without which nothing can be measured: they name what the wheels lack at once.
_IMPORTS = "sweeper.cli, sweeper.workers.worker, sweeper.tracking.local_store, mlflow, pytest"
_IMPORTS += ", hypothesis, torchvision, pandas, sklearn"


class SetupError(Exception):
    """The machine, or what was carried to it, lacks something."""


def main(description: str) -> int:
    """Make an environment and measure there; see ``scripts/gpu-check`` for the arguments."""
    begun_s = time.time()
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", type=Path, required=True, help="folder of wheels")
    parser.add_argument("--data", type=Path, help="folder of MNIST's gzip files")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is found")
    given = parser.parse_args()
    try:
        require_gpu()
        return run(given.wheels, given.data, given.out, begun_s + _LIMIT_S)
    except SetupError as exc:
        print(f"gpu-check: {exc}", file=sys.stderr)
        return 2


def require_gpu() -> None:
    """Raise unless torch sees one."""
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TORCH_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise SetupError(f"torch did not answer within {_TORCH_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise SetupError(
            f"{sys.executable} cannot import torch; begin with a python that can, `PYTHON "
            f"scripts/gpu-check ...`:\n{done.stderr.strip()}"
        )
    version, has_gpu = done.stdout.split()
    if has_gpu != "True":
        raise SetupError(f"this machine has no GPU that torch {version} sees; nothing was done")


def run(wheels: Path, data: Path | None, out: Path, until_s: float) -> int:
    """Measure, until a moment in seconds since the Unix epoch; the exit code.

    Raises:
        SetupError: If something is lacking.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        baseline = unpack_baseline(wheels, out, scratch)
        python = make_environment(scratch / "environment", wheels)
        words = ["--out", out.absolute(), "--scratch", scratch, "--baseline", baseline]
        words += ["--until", until_s, *(["--data", data.absolute()] if data else [])]
        return measure([str(python), str(ROOT / "benchmarks" / "gpu_check.py"), *map(str, words)])


def measure(command: Sequence[str]) -> int:
    """Run what measures; told to stop, it still takes away what lies about."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # which the other one has seen as well
            continue


def unpack_baseline(wheels: Path, out: Path, scratch: Path) -> Path:
    """The root of sweeper as it was, from the folder of wheels or from the repository."""
    archive = wheels / ARCHIVE
    if not archive.is_file():
        archive = out / ARCHIVE
        command = ["git", "-C", str(ROOT), "archive", "--output", str(archive), BASELINE]
        way_out = f"make {wheels / ARCHIVE} by `git archive --output {ARCHIVE} {BASELINE}`"
        if shutil.which("git") is None:
            raise SetupError(f"{wheels / ARCHIVE} is not there, nor is git; {way_out}")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SetupError(
                f"{wheels / ARCHIVE} is not there, and this repository has no {BASELINE}: "
                f"{done.stderr.strip()}; where it does, {way_out}"
            )
    root = scratch / "baseline"
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    if not (root / "sweeper" / "learner.py").is_file():
        raise SetupError(f"{archive}: it holds no sweeper as of {BASELINE}; make it anew")
    return root


def make_environment(folder: Path, wheels: Path) -> Path:
    """An environment with the wheels, and behind them what this python has; its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    [packages] = folder.glob("lib/python*/site-packages")
    # Not --system-site-packages: of a python that is of an environment itself, those are others.
    seen = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "what_the_machine_has.pth").write_text("\n".join(seen) + "\n")
    add_metadata(packages)
    if files := sorted(map(str, wheels.glob("*.whl"))):
        install(python, files)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(python), "-c", f"import {_IMPORTS}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SetupError(
            f"{wheels} lacks something, see benchmarks/gpu_wheels.txt: "
            f"{done.stderr.strip().splitlines()[-1]}"
        )
    return python


def add_metadata(packages: Path) -> None:
    """What an installation of this repository would leave there: ``sweeper`` asks for it."""
    source = (ROOT / "sweeper" / "__init__.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    folder = packages / f"sweeper-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: sweeper\nVersion: {version}\n")


def install(python: Path, files: Sequence[str]) -> None:
    """Let the pip of this python install wheels for another one, and nothing else."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--no-index", "--no-deps", "--no-cache-dir", "--no-compile"]
    command += ["--disable-pip-version-check", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SetupError(f"pip does not install the wheels:\n{done.stderr.strip()}")
