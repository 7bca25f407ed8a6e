"""What a search finds that trains several trials at once, and how full its packs are.

    python benchmarks/search_lanes.py --tables DIR --seeds 20

With several trials at work a sampler knows less when it is asked. First, MLPs are trained on the
digits: one trial at a time; by eight workers with a trial each, as people do without lanes; and by
one worker with lanes and packs. Widths and batch sizes are searched, so trials have six kinds of
programs, and only those of one kind share a pack. Workers are those of ``sweeper run`` with the
default sampler; no command is started. Then the problems of ``search.py`` are searched with so
many trials at work, each asking when the eldest has ended, as lanes of equal trials do; half the
seeds are enough there, as there are several problems of a kind.

Each search is kept when it is done (``benchmarks/.measured/search_lanes.jsonl``), so that a run
that is broken off goes on, as long as ``sweeper`` is at the same commit.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import optuna
import torch
from lane_studies import N_TRIALS, ONE, WAYS, Found, Way, search
from results import (
    HERE,
    describe_machine,
    render_facts,
    render_table,
    sweeper_commit,
    write_section,
)
from search import Trial, best_at, render_quartiles
from search_problems import Problem, accuracies, flat, load_tables
from search_replay import replay

KEPT = HERE / ".measured" / "search_lanes.jsonl"
MARKS = (10, 20, N_TRIALS)
#: Trials at work in searches of problems.
PENDING = (1, 8, 16)
_LESS = ("less one at a time", "less one at a time without those at work")


class Kept:
    """Results of searches, each of which is done once at a commit of ``sweeper``."""

    def __init__(self) -> None:
        self._commit = sweeper_commit()
        lines = KEPT.read_text().splitlines() if KEPT.exists() else []
        self._results: dict[str, Any] = dict(map(json.loads, lines))

    def result(self, name: str, seed: int, search: Callable[[], Any]) -> Any:
        """What a search came to, as JSON has it."""
        key = f"{self._commit}/{name}/{seed}"
        if key not in self._results:
            self._results[key] = search()
            KEPT.parent.mkdir(exist_ok=True)
            with KEPT.open("a") as file:
                file.write(json.dumps([key, self._results[key]]) + "\n")
            print(key, flush=True)
        return self._results[key]


def trained(n_seeds: int, kept: Kept) -> dict[str, list[Found]]:
    """What each way of training found."""
    found: dict[str, list[Found]] = {way.title: [] for way in WAYS}
    for seed in range(n_seeds):
        for way in WAYS:
            result = kept.result(way.title, seed, partial(_searched, way, seed))
            found[way.title].append(Found(**result))
    return found


def _searched(way: Way, seed: int) -> dict[str, Any]:
    return asdict(search(way, seed))


def render_trained(found: Mapping[str, Sequence[Found]]) -> str:
    """A row for each way of training, by its title."""
    head = ["trained", "lowest validation loss, median [quartiles]", *_LESS]
    head += ["trials a pack", "CPU s"]
    bests = {
        title: [_logs_of_best(each.losses) for each in by_seed] for title, by_seed in found.items()
    }
    rows = []
    for way in (way for way in WAYS if way.title in found):
        by_seed = found[way.title]
        row = [way.title, _render_best(bests[way.title], scale=math.exp)]
        row += _less(bests[way.title], bests[ONE.title], way.n_at_work, unit=0.01)
        row.append(f"{n:.1f}" if (n := mean(each.n_together for each in by_seed)) else "")
        row.append(f"{median(each.cpu_s for each in by_seed):.1f}")
        rows.append(row)
    return render_table(head, rows)


def _logs_of_best(losses: Sequence[float]) -> list[float]:
    """Of the best up to each trial; infinite before there is one."""
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    return [math.log(loss) for loss in accumulate(finite, min)]


def answered(folder: Path, n_seeds: int, kept: Kept) -> str:
    """A row for each kind of problem and number of trials at work."""
    tables = load_tables(folder).values()
    errors, scores = ([t for t in tables if t.is_error is kind] for kind in (True, False))
    rows = []
    for trial in (
        Trial("FCNet, logarithm of the error", [*map(flat, errors)], (), MARKS),
        Trial("HPOBench MLP", [*map(flat, scores)], (), MARKS),
        Trial("accuracies, two branches", [accuracies(seed) for seed in range(4)], (), MARKS),
    ):
        regrets = {n: _regrets(trial, n, n_seeds, kept) for n in PENDING}
        for n, by_search in regrets.items():
            row = [trial.title, str(n), str(len(by_search)), _render_best(by_search)]
            rows.append([*row, *_less(by_search, regrets[1], n)])
    head = ["search", "trials at work", "n", "regret, median [quartiles]", *_LESS]
    return render_table(head, rows)


def _regrets(trial: Trial, n_pending: int, n_seeds: int, kept: Kept) -> list[list[float]]:
    """Of the best up to each trial, for each problem and seed."""

    def search(problem: Problem, seed: int) -> list[float]:
        asked, _ = replay(problem, seed, MARKS[-1], n_pending=n_pending)
        return best_at(asked, replace(trial, marks=range(1, MARKS[-1] + 1)))

    return [
        kept.result(f"{problem.name}, {n_pending} at work", seed, partial(search, problem, seed))
        for seed in range(n_seeds)
        for problem in trial.problems
    ]


def _render_best(
    by_search: Sequence[Sequence[float]], scale: Callable[[float], float] = float
) -> str:
    columns = ([scale(best[mark - 1]) for best in by_search] for mark in MARKS)
    return " / ".join(map(render_quartiles, columns))


def _less(
    many: Sequence[Sequence[float]],
    one: Sequence[Sequence[float]],
    n_at_work: int,
    unit: float = 1,
) -> list[str]:
    """How much worse searches are than the same ones one trial at a time.

    Args:
        many: The best up to each trial, of each search.
        one: As ``many``, one trial at a time.
        n_at_work: Trials at the same time in ``many``.
        unit: Of the figures.

    Returns:
        After as many trials; after those less that were at work beside the last one.
    """
    if n_at_work == 1:
        return ["", ""]
    cells = []
    for n in (0, n_at_work - 1):
        after = [
            [(a[mark - 1] - b[mark - n - 1]) / unit for a, b in zip(many, one, strict=True)]
            for mark in MARKS
            if mark > n
        ]
        missing = ["-"] * (len(MARKS) - len(after))
        cells.append(" / ".join([*missing, *map(_paired, after)]))
    return cells


def _paired(differences: Sequence[float]) -> str:
    """Their mean and its standard error."""
    return f"{mean(differences):+.2g} ({stdev(differences) / math.sqrt(len(differences)):.2g})"


def main() -> None:
    """Measure what is missing, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of *.csv.gz")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    command = f"python benchmarks/search_lanes.py --tables DIR --seeds {arguments.seeds}"
    facts, kept = describe_machine(command), Kept()
    found = trained(arguments.seeds, kept)
    marks = " / ".join(map(str, MARKS))
    body = (
        f"The best of the first {marks} trials that have ended, and the mean paired difference "
        "(its standard error) to the same search with one trial at a time, after as many trials "
        "and after so many fewer as were at work beside the last one; lower is better. "
        f"Digits, {arguments.seeds} seeds: MLPs of one layer; widths, batch sizes, activation, "
        "dropout, rate, momentum and L2 are searched by the default sampler, without a pruner; "
        "the difference is one of logarithms, in per cent. Trials a pack are its members that had "
        "a batch in one of its steps, on average; widths and batch sizes make six kinds of "
        "programs.\n\n"
        f"{render_trained(found)}\n\n"
        "Problems of the search itself; its section tells what regret is in each.\n\n"
        f"{answered(arguments.tables, arguments.seeds // 2, kept)}\n\n{render_facts(facts)}"
    )
    write_section("The search with several trials at work", body)
    print(body)


if __name__ == "__main__":
    main()
