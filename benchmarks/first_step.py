"""What a command takes before its first training step and after its last epoch.

    python benchmarks/first_step.py --repeats 5
    python benchmarks/first_step.py --repeats 5 --before OTHER/bin/python

Each run is a whole ``sweeper run`` of MLP trials of two epochs on the digits, their models logged:
one trial, or eight on two workers. What is trained takes a tenth of a second a trial, so hardly
anything hides behind it. *Fresh* is an empty folder: the data are decoded, Optuna's and MLflow's
stores are made. *Begun* is another study in the same folder, right after that.

The clock runs from the start of the process to the moment at which the first epoch of any trial
began, which the event logs tell: the time of its metrics less the seconds of that epoch. And it
runs from the end of the last epoch to the end of the process, when MLflow has everything. CPU
seconds are those of the process and all its children. Beside them, a process that does nothing but
``import torch``. All take turns, each repeat in the opposite order of the one before, and so does
another version of sweeper if its python is named. Files that the operating system keeps in memory
stay there, for all of them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contenders import children_cpu_seconds, clean_environment
from results import describe_machine, render_facts, render_spread, render_table, write_section

from sweeper.events import read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics

STUDY = """
name: {name}
budget: {{trials: {n_trials}}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model: {{architecture: mlp, depth: 2, width: 64}}
train: {{epochs: 2, optimizer: sgd, learning_rate: {{low: 1e-3, high: 1e-1, log: true}}}}
run: {{workers: {n_workers}, device: cpu}}
"""
IMPORT = "import torch"
#: Name -> trials and workers.
STUDIES = {"1 trial": (1, 1), "8 trials, 2 workers": (8, 2)}
STATES = ("fresh", "begun")


@dataclass(frozen=True)
class Taken:
    """What one run took, in seconds.

    Attributes:
        start: Until the first epoch began; of the import alone, until that was done.
        end: From the end of the last epoch on.
        cpu: User and system time of all its processes.
    """

    start: float
    end: float
    cpu: float


def measure(python: str) -> Iterator[tuple[str, Taken]]:
    """Each study in each state, once."""
    for words, (n_trials, n_workers) in STUDIES.items():
        with tempfile.TemporaryDirectory() as folder:
            for state in STATES:
                study = STUDY.format(name=state, n_trials=n_trials, n_workers=n_workers)
                yield f"{words}, {state}", time_command(python, Path(folder), state, study)


def time_import(python: str) -> Taken:
    begun, cpu_before = time.perf_counter(), children_cpu_seconds()
    # Taking torch apart at the end takes a part of a second, which no first step waits for.
    subprocess.run([python, "-c", "import os, torch; os._exit(0)"], check=True)
    return Taken(time.perf_counter() - begun, 0.0, children_cpu_seconds() - cpu_before)


def time_command(python: str, folder: Path, name: str, study: str) -> Taken:
    """Run a study of that name in ``folder`` to its end.

    Raises:
        SystemExit: If the run fails.
    """
    (folder / f"{name}.yaml").write_text(study)
    begun_s, cpu_before = time.time(), children_cpu_seconds()
    done = subprocess.run(
        [python, "-P", "-m", "sweeper", "run", f"{name}.yaml"],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ended_s, cpu = time.time(), children_cpu_seconds() - cpu_before
    if done.returncode:
        sys.exit(f"sweeper failed:\n{done.stdout[-4000:]}")
    paths = RunPaths(folder / "mlruns", name)
    return Taken(first_epoch_s(paths) - begun_s, ended_s - last_epoch_s(paths), cpu)


def _epochs(paths: RunPaths) -> Iterator[EpochMetrics]:
    for number in paths.trial_numbers():
        events, _ = read_events(paths.events(number))
        yield from (event for event in events if isinstance(event, EpochMetrics))


def first_epoch_s(paths: RunPaths) -> float:
    """When the first epoch of any trial began, seconds since the Unix epoch."""
    return min(epoch.time_s - epoch.values["epoch_seconds"] for epoch in _epochs(paths))


def last_epoch_s(paths: RunPaths) -> float:
    """When the last epoch of any trial ended, seconds since the Unix epoch."""
    return max(epoch.time_s for epoch in _epochs(paths))


def render(measured: Mapping[str, Sequence[Taken]]) -> str:
    """What each command took; beyond the import of torch, by the medians."""
    alone = median(taken.start for taken in measured[IMPORT])
    beyond, ends, rows = [], [], []
    for name, runs in measured.items():
        starts = [taken.start for taken in runs]
        cpu = render_spread([taken.cpu for taken in runs])
        if name == IMPORT:
            rows.append([name, render_spread(starts), "", "", cpu])
            continue
        beyond.append(median(starts) - alone)
        ends.append(median(taken.end for taken in runs))
        end = render_spread([taken.end for taken in runs])
        rows.append([name, render_spread(starts), f"{beyond[-1]:.1f}", end, cpu])
    head = ["", "to the first step, s", "beyond importing torch, s"]
    head += ["from the last epoch to the end, s", "CPU, s"]
    return (
        f"The first training step comes **{min(beyond):.1f} to {max(beyond):.1f} s** later than "
        f"importing torch alone would take, the end **{min(ends):.1f} to {max(ends):.1f} s** "
        f"after the last epoch (medians, n = {len(runs)} each, in turns).\n\n"
    ) + render_table(head, rows)


def render_before(now: Mapping[str, Sequence[Taken]], then: Mapping[str, Sequence[Taken]]) -> str:
    """What another version took, and the ratios run by run: median (min - max)."""
    rows = [
        [
            name,
            *(render_spread([part(taken) for taken in runs]) for part in _PARTS.values()),
            *(
                render_spread([part(b) / part(a) for a, b in zip(now[name], runs, strict=True)])
                for part in _PARTS.values()
            ),
        ]
        for name, runs in then.items()
    ]
    head = ["before", *(f"{part}, s" for part in _PARTS), *(f"{part}, ratio" for part in _PARTS)]
    return render_table(head, rows)


_PARTS: Mapping[str, Callable[[Taken], float]] = {
    "start": lambda taken: taken.start,
    "end": lambda taken: taken.end,
    "CPU": lambda taken: taken.cpu,
}


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    parser.add_argument("--before", metavar="PYTHON", help="of another version of sweeper")
    arguments = parser.parse_args()
    command = f"python benchmarks/first_step.py --repeats {arguments.repeats}"
    facts = describe_machine(command + " --before PYTHON" * bool(arguments.before))
    pythons = [sys.executable, *([arguments.before] if arguments.before else [])]
    measured: dict[str, dict[str, list[Taken]]] = {python: {} for python in pythons}
    for repeat in range(arguments.repeats):
        alone = time_import(sys.executable)
        measured[sys.executable].setdefault(IMPORT, []).append(alone)
        for python in pythons if repeat % 2 else reversed(pythons):
            for name, taken in measure(python):
                load = os.getloadavg()[0]
                print(f"{repeat + 1}: {python}: {name}: {taken}; load {load:.1f}", flush=True)
                measured[python].setdefault(name, []).append(taken)
    now, *then = measured.values()
    tables = [render(now), *(render_before(now, other) for other in then)]
    body = "\n\n".join([*tables, render_facts(facts)])
    write_section("From the command to the first step, and from the last epoch to the end", body)
    print(body)


if __name__ == "__main__":
    main()
