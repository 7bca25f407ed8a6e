"""From the command to the first training step, beside importing torch.

    python benchmarks/first_step.py --repeats 5 --data DIR

Each run is a whole ``sweeper run`` of two short MLP trials on MNIST with two workers, tracking on.
The clock runs from the start of the process to the moment at which the first epoch of the first
trial begins, which its event log tells: the time of its first metrics less the seconds of that
epoch. *Cold* is an empty folder: the raw images are read and decoded, Optuna's and MLflow's stores
are made. *Prepared* is another study in the same folder, right after that. Beside both, a process
that does nothing but ``import torch``, from its start until that is done. The three take turns.
Files that the operating system keeps in memory stay there, for all of them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from contenders import clean_environment
from mnist import add_data_option, fetch_mnist
from results import describe_machine, render_facts, render_spread, render_table, write_section

from sweeper.events import read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics

STUDY = """
name: {name}
budget: {{trials: 2}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: mnist, batch_size: 64}}
model: {{architecture: mlp, depth: 2, width: 256, dropout: 0.1}}
train: {{epochs: 1, optimizer: sgd, learning_rate: {{low: 1e-3, high: 1e-1, log: true}}}}
run: {{workers: 2, device: cpu}}
tracking: {{log_models: none}}
"""
IMPORT, COLD, PREPARED = "import torch", "sweeper run, cold", "sweeper run, prepared"


def measure(data: Path) -> dict[str, float]:
    """Seconds of each of the three, once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            IMPORT: time_import(),
            COLD: time_first_step(folder, "cold", data),
            PREPARED: time_first_step(folder, "prepared", data),
        }


def time_import() -> float:
    begun = time.perf_counter()
    # Taking torch apart at the end takes a part of a second, which no first step waits for.
    subprocess.run([sys.executable, "-c", "import os, torch; os._exit(0)"], check=True)
    return time.perf_counter() - begun


def time_first_step(folder: Path, name: str, data: Path) -> float:
    """Run a study of that name in ``folder`` to its end; seconds until its first epoch began.

    Raises:
        SystemExit: If the run fails.
    """
    (folder / f"{name}.yaml").write_text(STUDY.format(name=name))
    begun_s = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "run", f"{name}.yaml"],
        cwd=folder,
        env=clean_environment() | {"SWEEPER_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"sweeper failed:\n{done.stdout[-4000:]}")
    return first_epoch_s(RunPaths(folder / "mlruns", name)) - begun_s


def first_epoch_s(paths: RunPaths) -> float:
    """When the first epoch of any trial began, seconds since the Unix epoch."""
    logs = [read_events(paths.events(number))[0] for number in paths.trial_numbers()]
    return min(
        event.time_s - event.values["epoch_seconds"]
        for log in logs
        for event in log
        if isinstance(event, EpochMetrics)
    )


def render(measured: Mapping[str, Sequence[float]]) -> str:
    """The three as a table; what sweeper adds is that of the medians."""
    alone = median(measured[IMPORT])
    beyond = {name: median(seconds) - alone for name, seconds in measured.items()}
    rows = [
        [name, render_spread(seconds, 2), "" if name == IMPORT else f"{beyond[name]:.2f}"]
        for name, seconds in measured.items()
    ]
    n_repeats = len(measured[IMPORT])
    return (
        "From the start of the command to the first training step: **importing torch + "
        f"{beyond[PREPARED]:.1f} s**, and + {beyond[COLD]:.1f} s in an empty folder (medians, "
        f"n = {n_repeats} each, in turns).\n\n"
    ) + render_table(["", "median (min - max), s", "beyond importing torch, s"], rows)


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    add_data_option(parser)
    arguments = parser.parse_args()
    data = fetch_mnist(arguments.data)
    facts = describe_machine(f"python benchmarks/first_step.py --repeats {arguments.repeats}")
    measured: dict[str, list[float]] = {IMPORT: [], COLD: [], PREPARED: []}
    for repeat in range(1, arguments.repeats + 1):
        for name, seconds in measure(data).items():
            print(f"repeat {repeat}: {name} {seconds:.2f} s", flush=True)
            measured[name].append(seconds)
    body = f"{render(measured)}\n\n{render_facts(facts)}"
    write_section("From the command to the first step", body)
    print(body)


if __name__ == "__main__":
    main()
