"""Training time of a study whose tracking server is away for a while, beside one that has it.

    python benchmarks/tracking_outage.py --repeats 3

Each run is a whole ``sweeper run`` on the digits in a folder of its own, with a real MLflow server
on SQLite. The server has half of the cores to itself, as starting it again must not be what slows
training down. The two take turns, and each repeat swaps who begins. A run counts only if MLflow
then holds every point of every trial once, and if training outlasted the outage.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from mlflow import MlflowClient
from mlflow_server import MlflowServer
from results import describe_machine, render_facts, render_spread, render_table, write_section

from sweeper.config.metrics import METRICS
from sweeper.events import Ended, Started, read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics

TRIALS, EPOCHS = 12, 60
STUDY = """
name: outage
budget: {{trials: {trials}}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: digits, size: 28, batch_size: 32}}
model: {{architecture: mlp, depth: 2, width: 256}}
train: {{epochs: {epochs}, learning_rate: {{low: 1e-4, high: 1e-2, log: true}}}}
tracking: {{uri: "{uri}"}}
"""
_PATIENCE_S = 600
_CORES = sorted(os.sched_getaffinity(0))
_SERVER_CORES = _CORES[: len(_CORES) // 2] or _CORES
_COMMAND_CORES = _CORES[len(_CORES) // 2 :]


@dataclass(frozen=True)
class Measurement:
    """One run of the study.

    Attributes:
        training_seconds: Of all epochs of all trials together.
        wall_seconds: From the start of the first trial to the end of the last.
    """

    training_seconds: float
    wall_seconds: float


def measure(outage_s: float, *, trials: int, epochs: int) -> Measurement:
    """Run the study once in an empty folder.

    Args:
        outage_s: Seconds for which the server is away once it has the first trial; 0 for never.
        trials: Of the study.
        epochs: Of each.

    Raises:
        SystemExit: If the run fails, loses or doubles something, or is over before the outage.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = MlflowServer(folder, cores=_SERVER_CORES)
        study = STUDY.format(trials=trials, epochs=epochs, uri=server.uri)
        (folder / "outage.yaml").write_text(study)
        server.start()
        try:
            with _running(folder) as command:
                back_s = _interrupt(server, outage_s) if outage_s else 0.0
                code = command.wait(_PATIENCE_S)
            output = (folder / "output").read_text()
            if code:
                sys.exit(f"sweeper failed:\n{output[-4000:]}")
            paths = RunPaths(folder / "mlruns", "outage")
            measurement = _read(paths, back_s)
            _require_every_point(MlflowClient(server.uri), paths, trials * epochs)
            return measurement
        finally:
            server.stop()


@contextmanager
def _running(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "output").open("wb") as output:
        command = subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run", "outage.yaml"],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(os.sched_setaffinity, 0, _COMMAND_CORES),
        )
    try:
        yield command
    finally:
        command.kill()
        command.wait()


def _interrupt(server: MlflowServer, outage_s: float) -> float:
    """Take the server away once it has a whole trial; when it is back, in epoch seconds."""
    client = MlflowClient(server.uri)
    _wait_until(lambda: bool(_find_runs(client, "FINISHED")))
    server.stop()
    time.sleep(outage_s)
    server.start()
    return time.time()


def _find_runs(client: MlflowClient, status: str) -> dict[int, str]:
    """Trial number -> run id of the trials in that status."""
    experiment = client.get_experiment_by_name("outage")
    if experiment is None:
        return {}
    query = f"status = '{status}' and tags.`sweeper.kind` = 'trial'"
    runs = client.search_runs([experiment.experiment_id], query)
    return {int(run.data.tags["sweeper.trial"]): run.info.run_id for run in runs}


def _require_every_point(client: MlflowClient, paths: RunPaths, n_epochs: int) -> None:
    run_ids = _find_runs(client, "FINISHED")
    n_found = 0
    for number in paths.trial_numbers():
        events, _ = read_events(paths.events(number))
        epochs = [event.epoch for event in events if isinstance(event, EpochMetrics)]
        n_found += len(epochs)
        if number not in run_ids:
            sys.exit(f"trial {number} is not FINISHED in MLflow")
        for name in METRICS:
            curve = client.get_metric_history(run_ids[number], name)
            if [point.step for point in curve] != epochs:
                sys.exit(f"trial {number}: MLflow does not hold each point of {name} once")
    if n_found != n_epochs:
        sys.exit(f"{n_found} epochs were trained, not {n_epochs}")


def _read(paths: RunPaths, back_s: float) -> Measurement:
    logs = [read_events(paths.events(number))[0] for number in paths.trial_numbers()]
    events = [event for log in logs for event in log]
    begun_s = min(event.time_s for event in events if isinstance(event, Started))
    ended_s = max(event.time_s for event in events if isinstance(event, Ended))
    if ended_s < back_s:
        sys.exit("training was over before the server came back: give more --epochs")
    seconds = [e.values["epoch_seconds"] for e in events if isinstance(e, EpochMetrics)]
    return Measurement(sum(seconds), ended_s - begun_s)


def _wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            sys.exit("waited in vain for MLflow")
        time.sleep(0.2)


def render(undisturbed: Sequence[Measurement], disturbed: Sequence[Measurement]) -> str:
    """Both figures of both as a table, with the ratio of the medians."""
    rows = []
    for title, name in (
        ("all epochs together", "training_seconds"),
        ("first start to last end", "wall_seconds"),
    ):
        values = [[getattr(run, name) for run in runs] for runs in (undisturbed, disturbed)]
        ratio = median(values[1]) / median(values[0])
        rows.append([title, *map(render_spread, values), f"{ratio:.3f}"])
    return render_table(["median (min - max), s", "undisturbed", "with the outage", "ratio"], rows)


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds without the server")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    facts = describe_machine(f"python benchmarks/{Path(__file__).name} {' '.join(sys.argv[1:])}")
    measured: dict[float, list[Measurement]] = {0.0: [], arguments.outage: []}
    order = list(measured)
    for repeat in range(1, arguments.repeats + 1):
        for outage_s in order:
            run = measure(outage_s, trials=arguments.trials, epochs=arguments.epochs)
            print(f"repeat {repeat}: outage of {outage_s:.0f} s: {run}", flush=True)
            measured[outage_s].append(run)
        order.reverse()
    setting = (
        f"{arguments.trials} MLP trials x {arguments.epochs} epochs on the digits at 28 x 28; "
        f"server away for {arguments.outage:.0f} s; {len(_COMMAND_CORES)} of {len(_CORES)} cores "
        f"for sweeper, the rest for the server; n = {arguments.repeats} each, in turns."
    )
    table = render(measured[0.0], measured[arguments.outage])
    undisturbed, disturbed = (
        median(run.training_seconds for run in runs) for runs in measured.values()
    )
    gist = (
        f"**Training takes {disturbed / undisturbed:.3f} x as long when the MLflow server is away "
        f"for {arguments.outage:.0f} s**; every point, param, state and model arrives, each once."
    )
    body = f"{gist}\n\n{setting}\n\n{table}\n\n{render_facts(facts)}"
    write_section("MLflow away in the middle of a study", body)
    print(body)


if __name__ == "__main__":
    main()
