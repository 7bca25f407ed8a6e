"""Wall time of eight fixed MLP trials on MNIST: sweeper beside the script one writes without it.

    python benchmarks/mlp_trials.py --repeats 3 --data DIR

Each run is a whole process from its cold start, in a folder of its own that is empty at first. The
two take turns, and each repeat swaps who begins. A run counts only if its MLflow store then holds
every setting once, with whole curves and a model.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from results import PAGE, write_section
from torchvision import datasets

import sweeper
from sweeper.machine import available_cores
from sweeper.spec import StudySpec

HERE = Path(__file__).resolve().parent
STUDY = HERE / "studies" / "mlp_trials.yaml"
CURVES = ("train_loss", "val_loss", "val_accuracy")
#: Name of the fixed value -> value; the same eight in every contender.
Setting = Mapping[str, float]


@dataclass(frozen=True)
class Contender:
    """A program that trains the settings.

    Attributes:
        name: In the results.
        command: Run in an empty folder, with ``$SWEEPER_DATA`` set.
        store: MLflow's database, relative to that folder.
    """

    name: str
    command: Sequence[str]
    store: Path


@dataclass(frozen=True)
class Measurement:
    """One run of a contender.

    Attributes:
        seconds: From the start of the process to its end.
        cpu_seconds: User and system time of the process and its children, over all cores.
        accuracies: On the validation split after the last epoch, in [0, 1], one per setting.
    """

    seconds: float
    cpu_seconds: float
    accuracies: Sequence[float]


def contenders(study: StudySpec, data: Path) -> list[Contender]:
    """Both programs, ready to train the settings of ``study``."""
    plain = HERE / "rivals" / "plain.py"
    return [
        Contender(
            "sweeper",
            [sys.executable, "-m", "sweeper", "run", str(study.path.resolve())],
            Path("mlruns/mlflow.db"),
        ),
        Contender(
            "plain script",
            [sys.executable, str(plain), "--data", str(data), "--trials", str(study.n_trials)],
            Path("mlflow.db"),
        ),
    ]


def fixed_settings(study: StudySpec) -> list[Setting]:
    """What the trials of ``study`` run with, by the last part of each dotted name."""
    return [
        {name.rpartition(".")[2]: float(str(value)) for name, value in setting.items()}
        for setting in study.enqueue[: study.n_trials]
    ]


def compare(study: StudySpec, data: Path, *, n_repeats: int) -> dict[str, list[Measurement]]:
    """Run both programs ``n_repeats`` times in turn.

    Args:
        study: All its trials are enqueued.
        data: Holds ``MNIST/raw``.
        n_repeats: >= 1.

    Returns:
        Name of the contender -> its measurements in the order of the repeats.

    Raises:
        SystemExit: If a run fails, or did not do all of the work.
    """
    data = data.resolve()
    datasets.MNIST(str(data), download=True)  # A download is no part of the comparison.
    order = contenders(study, data)
    measured: dict[str, list[Measurement]] = {contender.name: [] for contender in order}
    for repeat in range(1, n_repeats + 1):
        for contender in order:
            measurement = measure(contender, study, data)
            print(f"repeat {repeat}: {contender.name} {measurement.seconds:.1f} s", flush=True)
            measured[contender.name].append(measurement)
        order.reverse()
    return measured


def measure(contender: Contender, study: StudySpec, data: Path) -> Measurement:
    """Run a contender once in an empty folder; raises as :func:`compare`."""
    environment = {
        **os.environ,
        "SWEEPER_DATA": str(data),
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    environment.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        begun, cpu_before = time.perf_counter(), _children_cpu_seconds()
        done = subprocess.run(
            contender.command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.perf_counter() - begun
        cpu_seconds = _children_cpu_seconds() - cpu_before
        if done.returncode:
            sys.exit(f"{contender.name} failed:\n{done.stdout[-4000:]}")
        try:
            accuracies = read_accuracies(Path(folder) / contender.store, study)
        except ValueError as exc:
            sys.exit(f"{contender.name} did not do all of the work: {exc}")
    return Measurement(seconds, cpu_seconds, accuracies)


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def read_accuracies(store: Path, study: StudySpec) -> list[float]:
    """The last validation accuracy of each setting, in the order of :func:`fixed_settings`.

    Raises:
        ValueError: If a setting is absent, or lacks a model or a part of a curve.
    """
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name(study.name)
    if experiment is None:
        raise ValueError(f"{store}: there is no experiment {study.name!r}")
    models = {
        model.source_run_id
        for model in client.search_logged_models([experiment.experiment_id])
        if model.status == LoggedModelStatus.READY
    }
    runs = client.search_runs([experiment.experiment_id], "status = 'FINISHED'")
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    accuracies = []
    for setting in fixed_settings(study):
        found = [run for run in children if _has_setting(run.data.params, setting)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} finished runs with {setting}, not one")
        run_id = found[0].info.run_id
        if run_id not in models:
            raise ValueError(f"the run with {setting} has no model")
        for curve in CURVES:
            n_points = len(client.get_metric_history(run_id, curve))
            if n_points != study.sections["train"]["epochs"]:
                raise ValueError(f"the run with {setting} has {n_points} points of {curve}")
        accuracies.append(found[0].data.metrics["val_accuracy"])
    return accuracies


def _has_setting(params: Mapping[str, str], setting: Setting) -> bool:
    """Whether a run has these values, under dotted names or plain ones."""
    plain = {name.rpartition(".")[2]: value for name, value in params.items()}
    return all(name in plain and float(plain[name]) == setting[name] for name in setting)


def render_results(
    study: StudySpec, measured: Mapping[str, Sequence[Measurement]], facts: Mapping[str, str]
) -> str:
    """The page with the results: times, their ratio, accuracies side by side, ``facts``."""
    seconds = {name: [run.seconds for run in runs] for name, runs in measured.items()}
    ratio = median(seconds["plain script"]) / median(seconds["sweeper"])
    n_repeats = len(seconds["sweeper"])
    epochs = study.sections["train"]["epochs"]
    times = [
        [
            name,
            f"{median(values):.1f}",
            f"{min(values):.1f} - {max(values):.1f}",
            ", ".join(f"{value:.1f}" for value in values),
            f"{median(run.cpu_seconds for run in measured[name]):.1f}",
        ]
        for name, values in seconds.items()
    ]
    settings = fixed_settings(study)
    accuracies = [
        [*(f"{value:g}" for value in setting.values())]
        + [_spread([run.accuracies[index] for run in runs]) for runs in measured.values()]
        for index, setting in enumerate(settings)
    ]
    lines = [
        f"{study.n_trials} fixed MLP trials x {epochs} epochs, curves and models in MLflow.",
        f"**sweeper needs 1/{ratio:.1f} of the plain script's time** "
        f"(ratio of the medians, n = {n_repeats}).",
        "",
        *_table(["", "median, s", "min - max, s", "each run, s", "CPU, median, s"], times),
        "",
        f"Validation accuracy after the last epoch, median and min - max of n = {n_repeats}:",
        "",
        *_table([*settings[0], *measured], accuracies),
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
    ]
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.4f} ({min(values):.4f} - {max(values):.4f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def describe_machine(n_repeats: int) -> dict[str, str]:
    """What a reader must know to place the figures, by name."""
    packages = ("torch", "torchvision", "optuna", "mlflow")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "Device": f"{_cpu_model()}, {available_cores()} cores; GPU: {gpu}",
        "Load average before the first run": f"{os.getloadavg()[0]:.2f}",
        "Versions": ", ".join(f"{package} {version(package)}" for package in packages)
        + f", Python {platform.python_version()}",
        "Commit": _commit(),
        "Command": f"`python benchmarks/mlp_trials.py --repeats {n_repeats}`",
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(HERE.parent), *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    measured = ["sweeper", "benchmarks", ":!benchmarks/RESULTS.md"]
    is_dirty = git("status", "--porcelain", "--", *measured)
    return git("rev-parse", "HEAD") + (" with uncommitted changes" if is_dirty else "")


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("SWEEPER_DATA", "data")),
        help="folder that holds MNIST/raw; default $SWEEPER_DATA, else data",
    )
    arguments = parser.parse_args()
    study = sweeper.load(STUDY)
    facts = describe_machine(arguments.repeats)
    measured = compare(study, arguments.data, n_repeats=arguments.repeats)
    write_section("Eight MLP trials", render_results(study, measured, facts))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
