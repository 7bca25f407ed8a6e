"""Whole programs that do the same work, run in turns and timed from their start to their end."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Generic, TypeVar

from results import HERE, render_table

BASELINES = HERE / "baselines"
#: The baselines have an environment of their own, made from baselines/requirements.txt.
BASELINES_PYTHON = os.environ.get(
    "SWEEPER_BASELINES_PYTHON", str(BASELINES / ".venv" / "bin" / "python")
)
_SEND_NOTHING_HOME = {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}

Found = TypeVar("Found")


@dataclass(frozen=True)
class Contender(Generic[Found]):
    """A program that does the work.

    Attributes:
        name: In the results.
        command: Run in a folder of its own.
        read: Takes that folder when the program has ended and says what it left there; raises
            ValueError if that is not all of the work.
        environment: Laid over the one of this process.
        files: Name -> text of what lies in the folder at the start; else it is empty.
        is_accountable: Whether its CPU time can be known. Ray's cannot: its daemon does not wait
            for the workers that it starts, so the system adds their time to nobody's.
    """

    name: str
    command: Sequence[str]
    read: Callable[[Path], Found]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    is_accountable: bool = True


@dataclass(frozen=True)
class Measurement(Generic[Found]):
    """One run of a contender.

    Attributes:
        seconds: From the start of the process to its end.
        cpu_seconds: User and system time of the process and its children, over all cores; None
            where it cannot be known.
        found: What the contender's ``read`` returned.
    """

    seconds: float
    cpu_seconds: float | None
    found: Found


def compare(
    contenders: Sequence[Contender[Found]], *, n_repeats: int
) -> dict[str, list[Measurement[Found]]]:
    """Run all of them ``n_repeats`` times, each repeat in the opposite order of the one before.

    Returns:
        Name of the contender -> its measurements in the order of the repeats.

    Raises:
        SystemExit: If a run fails, or did not do all of the work.
    """
    measured: dict[str, list[Measurement[Found]]] = {c.name: [] for c in contenders}
    for repeat in range(1, n_repeats + 1):
        for contender in contenders if repeat % 2 else reversed(contenders):
            measurement = measure(contender)
            print(f"repeat {repeat}: {contender.name} {measurement.seconds:.1f} s", flush=True)
            measured[contender.name].append(measurement)
    return measured


def measure(contender: Contender[Found]) -> Measurement[Found]:
    """Run a contender once; raises as :func:`compare`."""
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        folder = Path(name)
        for file, text in contender.files.items():
            (folder / file).write_text(text, encoding="utf-8")
        seconds, cpu_seconds = _time(contender, folder)
        try:
            found = contender.read(folder)
        except ValueError as exc:
            sys.exit(f"{contender.name} did not do all of the work: {exc}")
    return Measurement(seconds, cpu_seconds if contender.is_accountable else None, found)


def _time(contender: Contender[Found], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    environment = {**clean_environment(), "RAY_TMPDIR": str(folder / "ray")}
    with tempfile.TemporaryFile() as output:  # a pipe would wait for daemons that hold it open
        begun, cpu_before = time.perf_counter(), children_cpu_seconds()
        done = subprocess.run(
            contender.command,
            cwd=folder,
            env={**environment, **contender.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            output.seek(0)
            last_words = output.read()[-4000:].decode(errors="replace")
            sys.exit(f"{contender.name} failed:\n{last_words}")
    return seconds, children_cpu_seconds() - cpu_before


def clean_environment() -> dict[str, str]:
    """That of this process, but for the user's own MLflow server; nothing is sent home."""
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return own | _SEND_NOTHING_HOME


def children_cpu_seconds() -> float:
    """User and system time of all processes that this one and its children have waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def describe_baselines(rival: str) -> str:
    """What is installed in the baselines' environment, for the facts.

    Args:
        rival: ``Ray Tune`` or ``Lightning``.

    Raises:
        SystemExit: If there is no such environment.
    """
    names = (rival.partition(" ")[0].lower(), "torch", "torchvision", "optuna", "mlflow")
    asked = (
        "from importlib.metadata import version; import platform;"
        f"print(', '.join(f'{{name}} {{version(name)}}' for name in {names}), end=', ');"
        "print('Python', platform.python_version())"
    )
    if not Path(BASELINES_PYTHON).exists():
        sys.exit(
            f"{BASELINES_PYTHON}: the baselines' environment is not there; make it with "
            "`make baselines`, or name its python in $SWEEPER_BASELINES_PYTHON"
        )
    done = subprocess.run([BASELINES_PYTHON, "-c", asked], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{BASELINES_PYTHON}: the baselines' environment lacks something:\n{done.stderr}")
    return done.stdout.strip()


def render_times(measured: Mapping[str, Sequence[Measurement[Found]]]) -> str:
    """A table of wall and CPU times; ratios are those of the medians to the first contender's."""
    seconds = {name: [run.seconds for run in runs] for name, runs in measured.items()}
    basis = median(next(iter(seconds.values())))
    rows = [
        [
            name,
            f"{median(values):.1f}",
            f"{min(values):.1f} - {max(values):.1f}",
            ", ".join(f"{value:.1f}" for value in values),
            f"{median(values) / basis:.1f}",
            _render_cpu([run.cpu_seconds for run in measured[name]]),
        ]
        for name, values in seconds.items()
    ]
    head = ["", "median, s", "min - max, s", "each run, s", "ratio", "CPU, median, s"]
    return render_table(head, rows)


def _render_cpu(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f}" if known else "not known"


def render_ratios(measured: Mapping[str, Sequence[Measurement[Found]]]) -> str:
    """``1/6.6 of the plain script's time and 1/4.0 of Ray Tune's time``: the first contender's."""
    seconds = {name: median(run.seconds for run in runs) for name, runs in measured.items()}
    first, *others = seconds
    return " and ".join(
        f"1/{seconds[name] / seconds[first]:.1f} of {name}'s time" for name in others
    )
