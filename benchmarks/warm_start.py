"""What the trials of an earlier study are worth: a search that begins with them, and one without.

    python benchmarks/warm_start.py --tables DIR --seeds 10

Problems and replays are those of ``search.py``. The earlier study is one of sweeper's too, of
twenty trials with another seed: on the same table, in the same or in other units; on another table
of the same parameters; for a third of the epochs; and upside down, where what was best is worst,
so that all it says is wrong. Both searches meet the same noise.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import optuna
from results import describe_machine, render_facts, render_table, write_section
from search import Trial, best_at, render_quartiles
from search_problems import EPOCHS, Problem, accuracies, curves, flat, load_tables
from search_replay import Asked, replay

_N_EARLIER = 20
#: No study of these seeds is one of those that are measured.
_EARLIER_SEEDS = 1000


@dataclass(frozen=True)
class Transfer:
    """Searches and what comes before them.

    Attributes:
        trial: The searches, and where they are looked at.
        earlier: Of each of its problems, the one that the earlier study searched.
    """

    trial: Trial
    earlier: Sequence[Problem]


def moved(problem: Problem, scale: float, shift: float) -> Problem:
    """The same in other units."""
    return replace(
        problem,
        report=lambda values, rng: [scale * y + shift for y in problem.report(values, rng)],
    )


def shortened(problem: Problem) -> Problem:
    """The same for a third of the epochs."""
    n_epochs = problem.n_epochs // 3
    return replace(
        problem,
        report=lambda values, rng: problem.report(values, rng)[:n_epochs],
        n_epochs=n_epochs,
    )


def transfers(folder: Path) -> Iterator[Transfer]:
    """All that is measured."""
    tables = load_tables(folder)
    errors = [table for table in tables.values() if table.is_error]
    scores = [table for table in tables.values() if not table.is_error]
    changes: dict[str, Callable[[Problem], Problem]] = {
        "the same": lambda problem: problem,
        "x 3 + 2": lambda problem: moved(problem, 3, 2),
        "x 0.3 - 1": lambda problem: moved(problem, 0.3, -1),
        "upside down": lambda problem: moved(problem, -1, 0),
    }
    searched = {
        "FCNet": list(map(flat, errors)),
        "HPOBench MLP": list(map(flat, scores)),
        "accuracies, two branches": [accuracies(seed) for seed in range(4)],
    }
    for name, problems in searched.items():
        for change, of in changes.items():
            trial = Trial(f"{name}: {change}", problems, (), marks=(1, 5, 10, 20))
            yield Transfer(trial, list(map(of, problems)))
        trial = Trial(f"{name}: another one", problems, (), marks=(1, 5, 10, 20))
        yield Transfer(trial, [*problems[1:], problems[0]])
    courses = list(map(curves, [*errors, tables["car"], tables["vehicle"]]))
    for name, of in (("the same", lambda problem: problem), ("a third of the epochs", shortened)):
        trial = Trial(f"curves: {name}", courses, (), marks=(1, 3, 6, 12), is_by_epochs=True)
        yield Transfer(trial, list(map(of, courses)))


def searches(
    transfer: Transfer, n_seeds: int
) -> Iterator[tuple[Sequence[Asked], Sequence[Asked]]]:
    """Each search without what came before it, and with it."""
    trial = transfer.trial
    most = trial.marks[-1]
    n_trials, n_epochs = (500, most * EPOCHS) if trial.is_by_epochs else (most, math.inf)
    for problem, earlier in zip(trial.problems, transfer.earlier, strict=True):
        for seed in range(n_seeds):
            _, source = replay(earlier, seed + _EARLIER_SEEDS, _N_EARLIER)
            cold, _ = replay(problem, seed, n_trials, n_epochs=n_epochs)
            warm, _ = replay(problem, seed, n_trials, n_epochs=n_epochs, source=source)
            yield cold, warm


def row_of(
    transfer: Transfer, found: Sequence[tuple[Sequence[Asked], Sequence[Asked]]]
) -> list[str]:
    """What is said of one transfer."""
    trial = transfer.trial
    cold, warm = (np.array([best_at(each[at], trial) for each in found]) for at in range(2))
    gains = warm - cold
    return [
        trial.title,
        str(len(found)),
        " / ".join(map(str, trial.marks)),
        *(" / ".join(map(render_quartiles, each.T)) for each in (cold, warm)),
        " / ".join(f"{median(column):+.2g}" for column in gains.T),
        " / ".join(f"{np.mean(column > 0):.0%}" for column in gains.T),
    ]


def render(rows: Sequence[Sequence[str]]) -> str:
    """The table and what it means."""
    head = ["earlier study", "n", "after", "regret without", "regret with it"]
    head += ["with less without", "with is worse"]
    return (
        "Regret of the best setting so far, as in the search itself: without an earlier study, "
        f"and with {_N_EARLIER} trials of one as `warm_start`; median [quartiles] over tables and "
        "seeds, lower is better. Paired are the medians of the differences by table and seed, and "
        "the share of searches that are worse with it. Of curves, after so many whole trainings."
        "\n\n"
    ) + render_table(head, rows)


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of *.csv.gz")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    facts = describe_machine(
        f"python benchmarks/warm_start.py --tables DIR --seeds {arguments.seeds}"
    )
    rows = []
    for transfer in transfers(arguments.tables):
        rows.append(row_of(transfer, list(searches(transfer, arguments.seeds))))
        print(" | ".join(rows[-1]), flush=True)
    write_section("After a warm start", f"{render(rows)}\n\n{render_facts(facts)}")


if __name__ == "__main__":
    main()
