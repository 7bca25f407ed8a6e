"""A worker of two threads on a machine that is busy with something else: threads sleep or spin.

    python benchmarks/busy_machine.py

``sweeper run`` on one trial of digits with one worker, which takes all cores, alone and beside two
busy loops a core. Sweeper lets OpenMP's threads sleep when they have nothing to do. It takes turns
with itself under GOMP_SPINCOUNT=300000, which is how long they spin by libgomp's own default.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from contenders import Contender, Measurement, compare
from results import describe_machine, render_facts, render_spread, render_table, write_section

from sweeper.events import Ended, Started, read_events
from sweeper.paths import RunPaths
from sweeper.workers.devices import available_cores

BUSY_PER_CORE = 2
SPINNING = {"GOMP_SPINCOUNT": "300000"}
STUDY = """
name: busy
budget: {{trials: 1}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model: {model}
train: {{epochs: {epochs}}}
run: {{workers: 1, device: cpu, precision: fp32}}
"""
MODELS = {
    "MLP": STUDY.format(model="{architecture: mlp, depth: 2, width: 256}", epochs=60),
    "CNN": STUDY.format(model="{architecture: cnn, depth: 2, channels: 16}", epochs=10),
}
#: Machine -> how its threads wait -> seconds of the trial in each run.
Seconds = Mapping[str, Mapping[str, Sequence[float]]]


def trial_seconds(folder: Path) -> float:
    """From the start of the trial to its end, without imports.

    Raises:
        ValueError: If it did not complete in one go.
    """
    events, _ = read_events(RunPaths(folder / "mlruns", "busy").events(0))
    first, last = events[0], events[-1]
    if not isinstance(first, Started) or not isinstance(last, Ended):
        raise ValueError("its trial has not ended")
    return last.time_s - first.time_s


def contenders(study: str) -> list[Contender[float]]:
    """Sweeper as it is, and with threads that spin."""
    command = [sys.executable, "-m", "sweeper", "run", "study.yaml"]
    files = {"study.yaml": study}
    return [
        Contender("sleep", command, trial_seconds, files=files),
        Contender("spin", command, trial_seconds, files=files, environment=SPINNING),
    ]


@contextmanager
def busy_cores(n: int) -> Iterator[None]:
    """As many processes that do nothing but compute."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure_model(study: str, n_repeats: int) -> Seconds:
    """Both ways to wait, on a machine without and with other work."""
    n_loops = BUSY_PER_CORE * available_cores()
    alone = compare(contenders(study), n_repeats=n_repeats)
    with busy_cores(n_loops):
        beside = compare(contenders(study), n_repeats=n_repeats)
    return {"nothing": _found(alone), f"{n_loops} busy loops": _found(beside)}


def _found(measured: Mapping[str, Sequence[Measurement[float]]]) -> dict[str, list[float]]:
    return {name: [run.found for run in runs] for name, runs in measured.items()}


def render(measured: Mapping[str, Seconds]) -> str:
    """A sentence with the worst ratio, and a table of all."""
    rows, ratios = [], []
    for model, machines in measured.items():
        for beside, seconds in machines.items():
            ratios.append(median(seconds["spin"]) / median(seconds["sleep"]))
            times = [render_spread(seconds[name]) for name in ("sleep", "spin")]
            rows.append([model, beside, *times, f"{ratios[-1]:.2f}"])
    n_repeats = len(next(iter(next(iter(measured.values())).values()))["sleep"])
    return (
        f"One worker with {available_cores()} threads: seconds of a trial of digits, median "
        f"(min - max) of n = {n_repeats} each, in turns. **Where threads without work spin, it "
        f"takes up to {max(ratios):.1f} times as long.**\n\n"
        + render_table(["model", "beside it", "they sleep", "they spin", "ratio"], rows)
    )


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    n_repeats = parser.parse_args().repeats
    facts = describe_machine(f"python benchmarks/busy_machine.py --repeats {n_repeats}")
    measured = {model: measure_model(study, n_repeats) for model, study in MODELS.items()}
    body = f"{render(measured)}\n\n{render_facts(facts)}"
    write_section("A busy machine", body)
    print(body)


if __name__ == "__main__":
    main()
