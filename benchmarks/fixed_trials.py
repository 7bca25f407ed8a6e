"""Eight fixed trials on MNIST, curves and models in MLflow: sweeper beside what people use.

    python benchmarks/fixed_trials.py mlp --repeats 3
    python benchmarks/fixed_trials.py cnn --repeats 3

Each run is a whole process from its cold start, in a folder that is empty at first. A run counts
only if its MLflow store then holds every setting once, with whole curves and a model. Where the
device has units for bf16, sweeper runs once more with it, as ``sweeper check`` may propose. On a
CPU the matrix products of all updates take a turn as well: nobody is faster than ``products.py``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import yaml
from contenders import (
    BASELINES,
    BASELINES_PYTHON,
    Contender,
    Measurement,
    compare,
    describe_baselines,
    render_ratios,
    render_times,
)
from mnist import add_data_option, fetch_mnist
from results import (
    HERE,
    PAGE,
    describe_machine,
    render_facts,
    render_spread,
    render_table,
    write_section,
)
from store import Store

import sweeper
from sweeper.config.study import StudySpec
from sweeper.workers.devices import known_precisions

FLOOR = "the matrix products alone"
CURVES = ("train_loss", "val_loss", "val_accuracy")
#: Name of the fixed value -> value; the same eight in every contender.
Setting = Mapping[str, float]
#: Validation accuracy after the last epoch, in [0, 1], one per setting; none of what trains none.
Accuracies = Sequence[float]


def contenders(study: StudySpec, data: Path) -> list[Contender[Accuracies]]:
    """The programs, ready to train the settings of ``study`` on the MNIST in ``data``."""
    architecture = study.sections["model"]["architecture"]
    epochs = study.sections["train"]["epochs"]
    words = [str(architecture), "--data", str(data)]
    words += ["--trials", str(study.n_trials), "--epochs", str(epochs)]
    read_baseline = partial(read_accuracies, study, Path("mlflow.db"))
    plain = yaml.safe_load(study.path.read_text(encoding="utf-8"))
    ours = {"sweeper": plain}
    has_gpu = torch.cuda.is_available()
    if "bf16" in known_precisions("cuda:0" if has_gpu else "cpu"):
        ours["sweeper in bf16"] = plain | {"run": plain["run"] | {"precision": "bf16"}}
    products = [sys.executable, str(HERE / "products.py"), str(study.path)]
    return [
        *(
            Contender(
                name,
                [sys.executable, "-m", "sweeper", "run", study.path.name],
                partial(read_accuracies, study, Path("mlruns/mlflow.db")),
                environment={"SWEEPER_DATA": str(data)},
                files={study.path.name: yaml.safe_dump(content)},
            )
            for name, content in ours.items()
        ),
        *([] if has_gpu else [Contender[Accuracies](FLOOR, products, lambda _: [])]),
        Contender(
            "the plain script",
            [BASELINES_PYTHON, str(BASELINES / "plain.py"), *words],
            read_baseline,
        ),
        Contender(
            "Ray Tune",
            [BASELINES_PYTHON, str(BASELINES / "ray_tune.py"), *words],
            read_baseline,
            is_accountable=False,
        ),
    ]


def fixed_settings(study: StudySpec) -> list[Setting]:
    """What the trials of ``study`` run with, by the last part of each dotted name."""
    return [
        {name.rpartition(".")[2]: float(str(value)) for name, value in setting.items()}
        for setting in study.enqueue[: study.n_trials]
    ]


def read_accuracies(study: StudySpec, database: Path, folder: Path) -> Accuracies:
    """The last validation accuracy of each setting, in the order of :func:`fixed_settings`.

    Args:
        study: All its trials are enqueued.
        database: MLflow's, relative to ``folder``.
        folder: In which the program ran.

    Raises:
        ValueError: If a setting is absent, or lacks a model or a part of a curve.
    """
    store = Store(folder / database, study.name)
    with_a_model = store.runs_with_a_model()
    trials = store.finished_trials()
    accuracies = []
    for setting in fixed_settings(study):
        found = [run for run in trials if _has_setting(run.data.params, setting)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} finished runs with {setting}, not one")
        if found[0].info.run_id not in with_a_model:
            raise ValueError(f"the run with {setting} has no model")
        for curve in CURVES:
            n_points = store.n_points(found[0], curve)
            if n_points != study.sections["train"]["epochs"]:
                raise ValueError(f"the run with {setting} has {n_points} points of {curve}")
        accuracies.append(found[0].data.metrics["val_accuracy"])
    return accuracies


def _has_setting(params: Mapping[str, str], setting: Setting) -> bool:
    """Whether a run has these values, under dotted names or plain ones."""
    plain = {name.rpartition(".")[2]: value for name, value in params.items()}
    return all(name in plain and float(plain[name]) == setting[name] for name in setting)


def render_results(
    study: StudySpec,
    measured: Mapping[str, Sequence[Measurement[Accuracies]]],
    facts: Mapping[str, str],
) -> str:
    """The section: times, their ratios, accuracies side by side, ``facts``."""
    architecture = str(study.sections["model"]["architecture"]).upper()
    epochs = study.sections["train"]["epochs"]
    n_repeats = len(measured["sweeper"])
    settings = fixed_settings(study)
    trained = {name: runs for name, runs in measured.items() if name != FLOOR}
    accuracies = [
        [*(f"{value:g}" for value in setting.values())]
        + [render_spread([run.found[index] for run in runs], 4) for runs in trained.values()]
        for index, setting in enumerate(settings)
    ]
    return f"""\
{study.n_trials} fixed {architecture} trials x {epochs} epochs, curves and models in MLflow.
{_render_gains(measured)} (medians, n = {n_repeats} each, in turns; the others with torch's default
precision, float32 on a CPU).{_render_floor(measured)}

{render_times(measured)}

Validation accuracy after the last epoch, median (min - max) of n = {n_repeats}:

{render_table([*settings[0], *trained], accuracies)}

{render_facts(facts)}
"""


def _render_gains(measured: Mapping[str, Sequence[Measurement[Accuracies]]]) -> str:
    """A bold sentence for each of our contenders, beside the others."""
    baselines = _baselines(measured)
    return " ".join(
        f"**{name} needs {render_ratios({name: runs, **baselines})}.**"
        for name, runs in measured.items()
        if name != FLOOR and name not in baselines
    )


def _render_floor(measured: Mapping[str, Sequence[Measurement[Accuracies]]]) -> str:
    """What is out of reach for everybody."""
    if FLOOR not in measured:
        return ""
    ratios = render_ratios({FLOOR: measured[FLOOR], **_baselines(measured)})
    return (
        " The matrix products of all updates alone, in float32 on all cores, with nothing around "
        f"them, need {ratios}: no program that trains these trials so can be faster."
    )


def _baselines(
    measured: Mapping[str, Sequence[Measurement[Accuracies]]],
) -> dict[str, Sequence[Measurement[Accuracies]]]:
    return {
        name: runs
        for name, runs in measured.items()
        if name != FLOOR and not name.startswith("sweeper")
    }


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("architecture", choices=["mlp", "cnn"])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    add_data_option(parser)
    arguments = parser.parse_args()
    name, n_repeats = arguments.architecture, arguments.repeats
    study = sweeper.load(HERE / "studies" / f"{name}_trials.yaml")
    facts = describe_machine(f"python benchmarks/fixed_trials.py {name} --repeats {n_repeats}")
    facts["Versions of the baselines"] = describe_baselines()
    data = fetch_mnist(arguments.data)
    measured = compare(contenders(study, data), n_repeats=n_repeats)
    write_section(f"Eight {name.upper()} trials", render_results(study, measured, facts))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
