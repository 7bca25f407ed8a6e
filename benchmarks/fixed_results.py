"""What is left by programs that train fixed trials, and the section that it makes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from contenders import Measurement, render_ratios, render_times
from results import render_facts, render_spread, render_table
from store import Store

import sweeper
from sweeper.commands.status import show_status
from sweeper.config.study import StudySpec
from sweeper.timing import render_seconds

FLOOR = "the matrix products alone"
CURVES = ("train_loss", "val_loss", "val_accuracy")
#: Name of the fixed value -> value; the same ones in every contender.
Setting = Mapping[str, float]


@dataclass(frozen=True)
class Work:
    """What a program leaves behind.

    Attributes:
        accuracies: Of validation after the last epoch, in [0, 1], one per setting; none of what
            trains none.
        seconds: Of sweeper's workers, by what they went into; empty of others.
    """

    accuracies: Sequence[float]
    seconds: Mapping[str, float] = field(default_factory=dict)


Measured = Mapping[str, Sequence[Measurement[Work]]]


def fixed_settings(study: StudySpec) -> list[Setting]:
    """What the trials of ``study`` run with, by the last part of each dotted name."""
    return [
        {name.rpartition(".")[2]: float(str(value)) for name, value in setting.items()}
        for setting in study.enqueue[: study.n_trials]
    ]


def read_ours(study: StudySpec, folder: Path) -> Work:
    """What ``sweeper run`` left; arguments and errors as of :func:`read_work`."""
    work = read_work(study, Path("mlruns/mlflow.db"), folder)
    status = show_status(
        sweeper.load(folder / study.path.name).spec, folder / "mlruns", as_json=True
    )
    return Work(work.accuracies, json.loads(status)["seconds"])


def read_work(study: StudySpec, database: Path, folder: Path) -> Work:
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
    return Work(accuracies)


def _has_setting(params: Mapping[str, str], setting: Setting) -> bool:
    """Whether a run has these values, under dotted names or plain ones."""
    plain = {name.rpartition(".")[2]: value for name, value in params.items()}
    return all(name in plain and float(plain[name]) == setting[name] for name in setting)


def render_results(
    what: str, study: StudySpec, measured: Measured, facts: Mapping[str, str]
) -> str:
    """The section: times, their ratios, where ours went, accuracies side by side, ``facts``.

    Args:
        what: Is trained.
        study: Of the trials.
        measured: Runs of each contender, sweeper's first.
        facts: That stand below.
    """
    epochs = study.sections["train"]["epochs"]
    n_repeats = len(measured["sweeper"])
    settings = fixed_settings(study)
    trained = {name: runs for name, runs in measured.items() if name != FLOOR}
    accuracies = [
        [*(f"{value:g}" for value in setting.values())]
        + [
            render_spread([run.found.accuracies[index] for run in runs], 4)
            for runs in trained.values()
        ]
        for index, setting in enumerate(settings)
    ]
    return f"""\
{study.n_trials} fixed trials of {what} x {epochs} epochs, curves and models in MLflow.
{_render_gains(measured)} (medians, n = {n_repeats} each, in turns; the others with torch's default
precision, float32 on a CPU).{_render_floor(measured)}

{render_times(measured)}

{_render_ledger(measured["sweeper"])}

Validation accuracy after the last epoch, median (min - max) of n = {n_repeats}:

{render_table([*settings[0], *trained], accuracies)}

{render_facts(facts)}
"""


def _render_ledger(runs: Sequence[Measurement[Work]]) -> str:
    """Where the time of sweeper's workers went, in the run of the median share of data."""

    def data_share(run: Measurement[Work]) -> float:
        return run.found.seconds.get("data", 0.0) / sum(run.found.seconds.values())

    shares = [data_share(run) for run in runs]
    middle = min(runs, key=lambda run: abs(data_share(run) - median(shares)))
    return (
        f"Of the time of sweeper's workers, data take {median(shares):.1%} (at most "
        f"{max(shares):.1%}): {render_seconds(middle.found.seconds)}."
    )


def _render_gains(measured: Measured) -> str:
    """A bold sentence for each of our contenders, beside the others."""
    baselines = _baselines(measured)
    return " ".join(
        f"**{name} needs {render_ratios({name: runs, **baselines})}.**"
        for name, runs in measured.items()
        if name != FLOOR and name not in baselines
    )


def _render_floor(measured: Measured) -> str:
    """What is out of reach for everybody."""
    if FLOOR not in measured:
        return ""
    ratios = render_ratios({FLOOR: measured[FLOOR], **_baselines(measured)})
    return (
        " The matrix products of all updates alone, in float32 on all cores, with nothing around "
        f"them, need {ratios}: no program that trains these trials so can be faster."
    )


def _baselines(measured: Measured) -> Measured:
    return {
        name: runs
        for name, runs in measured.items()
        if name != FLOOR and not name.startswith("sweeper")
    }
