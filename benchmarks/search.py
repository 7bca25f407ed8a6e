"""What the search finds: sweeper's default beside Optuna's samplers, on published tables.

    python benchmarks/search.py --tables DIR --seeds 20

A trial is a look into a table of trained networks, so only the asking costs time. sweeper goes its
own way, from the study file to the claim, the drawing and the pruner, with every default; Optuna's
samplers are asked and told by Optuna alone. All contenders of a problem and seed meet the same
noise. Each replay is kept when it is done (``benchmarks/.measured/search.jsonl``), so that a run
that is broken off goes on, as long as ``sweeper`` is at the same commit; Optuna's own are kept
longer, by their version. ``--part N/M`` does a part of them, for several processes at once.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
from results import (
    HERE,
    describe_machine,
    render_facts,
    render_table,
    sweeper_commit,
    write_section,
)
from search_problems import (
    EPOCHS,
    Problem,
    accuracies,
    cliff,
    conditional,
    curves,
    flat,
    hardly_allowed,
    load_tables,
    tiny,
)
from search_replay import Asked, contender

KEPT = HERE / ".measured" / "search.jsonl"
_OWN = "sweeper"
#: The branch that is right, and where it stands. The last one is found at once by whoever looks.
_RIGHT = (("protein_structure", 0), ("protein_structure", 3), ("car", 2))
_BRANCHES = ("protein_structure", "parkinsons_telemonitoring", "car", "kc1")


@dataclass(frozen=True)
class Trial:
    """A kind of problem and who is held against whom.

    Attributes:
        title: Of its rows.
        problems: One or several; the median is over all of them and the seeds.
        contenders: Beside sweeper.
        marks: Trials, or whole trainings, after which the best is looked at.
        n_pending: Trials that run at the same time.
        is_by_epochs: Marks are whole trainings.
    """

    title: str
    problems: Sequence[Problem]
    contenders: Sequence[str]
    marks: Sequence[int] = (25, 50, 100)
    n_pending: int = 1
    is_by_epochs: bool = False


def trials(folder: Path) -> list[Trial]:
    """All that is measured."""
    tables = load_tables(folder)
    errors = [table for table in tables.values() if table.is_error]
    scores = [table for table in tables.values() if not table.is_error]
    branches = [tables[name] for name in _BRANCHES]

    def branched(right: str, place: int) -> Problem:
        others = [table for table in branches if table.name != right]
        return conditional([*others[:place], tables[right], *others[place:]], right)

    rated = [tables["protein_structure"], tables["parkinsons_telemonitoring"]]
    rated += [tables["car"], tables["vehicle"]]
    made_up = [accuracies(seed) for seed in range(4)]
    return [
        Trial("FCNet, logarithm of the error", [*map(flat, errors)], ("gp", "tpe", "random")),
        Trial(
            "the same, numbers as `choices`",
            [flat(table, as_choices=True) for table in errors],
            ("gp", "tpe"),
        ),
        Trial(
            "the same, the error itself",
            [flat(table, as_logs=False) for table in errors],
            ("gp", "tpe"),
        ),
        Trial(
            "the same, numbers as `choices` and the error itself",
            [flat(table, as_choices=True, as_logs=False) for table in errors],
            ("gp", "tpe"),
        ),
        Trial("HPOBench MLP", [*map(flat, scores)], ("tpe",)),
        *(
            Trial(f"{title}, 20 trials in all", problems, ("tpe", "random"), marks=(10, 15, 20))
            for title, problems in (
                ("FCNet, logarithm of the error", [*map(flat, errors)]),
                ("HPOBench MLP", [*map(flat, scores)]),
                ("accuracies, two branches", made_up),
            )
        ),
        Trial(
            "FCNet, 8 running",
            [*map(flat, errors)],
            ("gp",),
            n_pending=8,
        ),
        *(
            Trial(f"four branches, {branched(*right).name}", [branched(*right)], ("tpe", "random"))
            for right in _RIGHT
        ),
        Trial(
            "accuracies, two branches",
            made_up,
            ("tpe", "random"),
            marks=(15, 20, 40),
        ),
        Trial(
            "four branches of nine parameters each",
            [conditional([*errors, *(table.again() for table in errors)], errors[0].name)],
            (),
            marks=(100, 200, 300),
        ),
        Trial(
            "curves, by whole trainings",
            [*map(curves, rated)],
            ("gp", "tpe", "random+asha", "tpe+asha"),
            marks=(3, 6, 12),
            is_by_epochs=True,
        ),
        Trial("beside a cliff", [cliff()], ("tpe",), marks=(50,)),
        Trial("64 settings", [tiny()], (), marks=(64,)),
        Trial("1 % allowed", [hardly_allowed()], (), marks=(64,)),
    ]


@dataclass(frozen=True)
class Replay:
    """One of them, with one seed."""

    trial: Trial
    problem: Problem
    name: str
    seed: int

    @property
    def key(self) -> str:
        """What its result is kept by."""
        by = sweeper_commit() if self.name == _OWN else f"optuna {version('optuna')}"
        most = self.trial.marks[-1]
        return f"{by}/{self.name}/{self.problem.name}/{self.trial.n_pending}/{most}/{self.seed}"

    def run(self) -> list[Asked]:
        """All its trials."""
        most = self.trial.marks[-1]
        n_trials, n_epochs = (500, most * EPOCHS) if self.trial.is_by_epochs else (most, math.inf)
        search = contender(self.name)
        return search(self.problem, self.seed, n_trials, self.trial.n_pending, n_epochs)


def replays(measured: Sequence[Trial], n_seeds: int) -> Iterator[Replay]:
    """All of them, the first seeds first."""
    for seed in range(n_seeds):
        for trial in measured:
            for problem in trial.problems:
                for name in (_OWN, *trial.contenders):
                    yield Replay(trial, problem, name, seed)


def read_kept() -> dict[str, list[Asked]]:
    """Results of replays that are done."""
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    found = [json.loads(line) for line in lines]
    return {key: [Asked(*asked) for asked in trials] for key, trials in found}


def measure(wanted: Sequence[Replay]) -> None:
    """Do what is not done, and keep it."""
    KEPT.parent.mkdir(exist_ok=True)
    kept = read_kept()
    for n, replay in enumerate(wanted):
        if replay.key not in kept:
            asked = replay.run()
            with KEPT.open("a") as file:
                file.write(json.dumps([replay.key, [astuple(trial) for trial in asked]]) + "\n")
            print(f"{n + 1} of {len(wanted)}: {replay.key}", flush=True)


def best_at(asked: Sequence[Asked], trial: Trial) -> list[float]:
    """Regret of the best so far at each mark."""
    n_before, lowest, best = 0, math.inf, math.inf
    found: list[float] = []
    marks = [mark * EPOCHS if trial.is_by_epochs else mark for mark in trial.marks]
    for at, one in enumerate(asked):
        n_before += one.n_epochs if trial.is_by_epochs else 1
        if one.lowest < lowest:
            lowest, best = one.lowest, one.regret
        while len(found) < len(marks) and (n_before >= marks[len(found)] or at == len(asked) - 1):
            found.append(best)
    return found


def cpu_ms(asked: Sequence[Asked], trial: Trial) -> list[float]:
    """Of an ask, over the ten before each mark; of epochs, before the end."""
    marks = (len(asked),) if trial.is_by_epochs else trial.marks
    return [
        1000 * float(np.mean([one.cpu_s for one in asked[max(mark - 10, 0) : mark]]))
        for mark in marks
    ]


Results = Mapping[str, Sequence[Asked]]


def rows_of(trial: Trial, n_seeds: int, results: Results) -> Iterator[list[str]]:
    """A row for each contender; paired with sweeper's of the same problem and seed."""
    found = {
        name: {
            (problem.name, seed): results[key]
            for problem in trial.problems
            for seed in range(n_seeds)
            if (key := Replay(trial, problem, name, seed).key) in results
        }
        for name in (_OWN, *trial.contenders)
    }
    own = {at: best_at(asked, trial) for at, asked in found[_OWN].items()}
    for name, each in found.items():
        if each:
            yield [trial.title, name, *_cells(trial, each, {} if name == _OWN else own)]


def _cells(
    trial: Trial, each: Mapping[tuple[str, int], Sequence[Asked]], own: Mapping[Any, list[float]]
) -> Iterator[str]:
    """What is said of one contender; ``own`` are sweeper's regrets, to be held against its."""
    best = {at: best_at(asked, trial) for at, asked in each.items()}
    gains = [np.subtract(own[at], found) for at, found in best.items() if at in own]
    cpu = [cpu_ms(asked, trial) for asked in each.values()]
    yield str(len(best))
    yield " / ".join(map(str, trial.marks))
    yield " / ".join(render_quartiles(column) for column in zip(*best.values(), strict=True))
    yield " / ".join(f"{median(column):+.2g}" for column in zip(*gains, strict=True))
    yield " / ".join(f"{median(column):.0f}" for column in zip(*cpu, strict=True))
    yield f"{np.mean([sum(math.isnan(a.regret) for a in asked) for asked in each.values()]):.1f}"
    yield f"{np.mean([sum(a.is_repeated for a in asked) for asked in each.values()]):.1f}"


def render_quartiles(values: Sequence[float]) -> str:
    """``median [quartiles]``."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g} [{low:.3g} {high:.3g}]"


def render(measured: Sequence[Trial], n_seeds: int, results: Results) -> str:
    """One table."""
    head = ["search", "by", "n", "after", "regret, median [quartiles]", "sweeper's less its"]
    head += ["CPU ms an ask", "diverged", "repeated"]
    rows = [row for trial in measured for row in rows_of(trial, n_seeds, results)]
    return (
        "Regret of the best setting so far, over tables and seeds, lower is better: in a flat "
        "space log10 of the relative one, -8 for none; of accuracies a logarithm of what is "
        "lacking; else in units from the best (0) to the median (1) of a table. Paired are the "
        "medians of the differences by table and seed. CPU is that of ten asks before each mark, "
        "of sweeper's with all that a worker does to draw. Diverged and repeated are trials of a "
        "whole search.\n\n"
    ) + render_table(head, rows)


def main() -> None:
    """Measure what is missing, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of *.csv.gz")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", default="1/1", help="N/M: every Mth replay, from the Nth on")
    parser.add_argument("--only", default="", help="contenders, by name, with commas between")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    facts = describe_machine(f"python benchmarks/search.py --tables DIR --seeds {arguments.seeds}")
    measured = trials(arguments.tables)
    wanted = list(replays(measured, arguments.seeds))
    part, n_parts = map(int, arguments.part.split("/"))
    mine = [r for r in wanted if not arguments.only or r.name in arguments.only.split(",")]
    measure(mine[part - 1 :: n_parts])
    results = read_kept()
    if all(replay.key in results for replay in wanted):
        body = f"{render(measured, arguments.seeds, results)}\n\n{render_facts(facts)}"
        write_section("The search itself", body)
        print(body)


if __name__ == "__main__":
    main()
