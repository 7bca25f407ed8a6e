"""Memory of each further worker, while they train.

    python benchmarks/memory.py --repeats 3 --data DIR

Each run is a ``sweeper run`` of the MLP on MNIST with 1, 2 or 4 workers, tracking on. Once every
worker has finished an epoch, the command's processes are read ten times and the median counts.
The figure is the proportional set size of Linux: what a process has to itself, and its share of
what it maps together with others, such as torch's code. So the sum over the processes is what they
take from the machine, as long as nothing else on it maps the same files: end other programs that
use torch. No trial ends meanwhile: with the first model that it logs, the agent imports torch.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contenders import clean_environment
from mnist import add_data_option, fetch_mnist
from results import describe_machine, render_facts, render_spread, render_table, write_section

from sweeper.events import read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics

STUDY = """
name: memory
budget: {{trials: {workers}}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: mnist, batch_size: 64}}
model: {{architecture: mlp, depth: 2, width: 256, dropout: 0.1}}
train: {{epochs: 100000, optimizer: sgd, learning_rate: {{low: 1e-3, high: 1e-1, log: true}}}}
run: {{workers: {workers}, device: cpu}}
tracking: {{log_models: none}}
"""
WORKERS = (1, 2, 4)
_READINGS, _PAUSE_S = 10, 0.2
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Reading:
    """Proportional set sizes at one moment, in MiB."""

    agent: float
    others: float

    @property
    def total(self) -> float:
        """Of all processes of the command."""
        return self.agent + self.others


def measure(n_workers: int, data: Path) -> Reading:
    """Run the study until it has been measured, then stop it.

    Raises:
        SystemExit: If the run fails, or does not begin to train in time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "memory.yaml").write_text(STUDY.format(workers=n_workers))
        output = folder / "output"
        with output.open("wb") as log:
            command = subprocess.Popen(
                [sys.executable, "-m", "sweeper", "run", "memory.yaml"],
                cwd=folder,
                env=clean_environment() | {"SWEEPER_DATA": str(data)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            paths = RunPaths(folder / "mlruns", "memory")
            deadline_s = time.monotonic() + _PATIENCE_S
            while count_training(paths) < n_workers:
                if command.poll() is not None or time.monotonic() > deadline_s:
                    sys.exit(f"sweeper does not train:\n{output.read_text()[-4000:]}")
                time.sleep(_PAUSE_S)
            return read_memory(command.pid)
        finally:
            command.send_signal(signal.SIGINT)
            command.wait()


def count_training(paths: RunPaths) -> int:
    """Trials that have finished an epoch."""
    logs = [read_events(paths.events(number))[0] for number in paths.trial_numbers()]
    return sum(any(isinstance(event, EpochMetrics) for event in log) for log in logs)


def read_memory(agent: int) -> Reading:
    """The medians of several readings of a command that runs as process ``agent``."""
    readings = []
    for _ in range(_READINGS):
        others = sum(map(proportional_mib, descendants(agent)))
        readings.append(Reading(proportional_mib(agent), others))
        time.sleep(_PAUSE_S)
    return Reading(
        median(reading.agent for reading in readings),
        median(reading.others for reading in readings),
    )


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that these started, and so on."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def proportional_mib(pid: int) -> float:
    """Proportional set size of a process in MiB; 0 if it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def per_worker(totals: Mapping[int, float]) -> float:
    """MiB of one more worker, from the fewest workers to the most."""
    fewest, most = min(totals), max(totals)
    return (totals[most] - totals[fewest]) / (most - fewest)


def render(measured: Mapping[int, Sequence[Reading]]) -> str:
    """Memory by number of workers as a table."""
    rows = [
        [str(n_workers)]
        + [render_spread([getattr(r, part) for r in readings], 0) for part in ("agent", "others")]
        + [render_spread([reading.total for reading in readings], 0)]
        for n_workers, readings in measured.items()
    ]
    totals = {n: median(reading.total for reading in runs) for n, runs in measured.items()}
    n_repeats = len(next(iter(measured.values())))
    return (
        f"**Each further worker takes {per_worker(totals):.0f} MiB** while it trains the MLP on "
        f"MNIST; MiB by proportional set size, median and min - max of n = {n_repeats} runs.\n\n"
    ) + render_table(
        ["workers", "agent, logging no models", "its other processes", "together"], rows
    )


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each number of workers")
    add_data_option(parser)
    arguments = parser.parse_args()
    data = fetch_mnist(arguments.data)
    facts = describe_machine(f"python benchmarks/memory.py --repeats {arguments.repeats}")
    measured: dict[int, list[Reading]] = {n_workers: [] for n_workers in WORKERS}
    for repeat in range(1, arguments.repeats + 1):
        for n_workers in WORKERS:
            reading = measure(n_workers, data)
            print(f"repeat {repeat}: {n_workers} workers, {reading.total:.0f} MiB", flush=True)
            measured[n_workers].append(reading)
    body = f"{render(measured)}\n\n{render_facts(facts)}"
    write_section("Memory of a worker", body)
    print(body)


if __name__ == "__main__":
    main()
