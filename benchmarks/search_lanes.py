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
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import torch
import yaml
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

from sweeper.config.reader import parse_study
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.study import SweepStudy
from sweeper.training.packed.pack import Pack
from sweeper.workers.protocol import WorkerArgs
from sweeper.workers.signals import StopRequest
from sweeper.workers.worker import Worker

KEPT = HERE / ".measured" / "search_lanes.jsonl"
MARKS = (10, 20, 40)
_AGENT = "agent"
_STUDY: Mapping[str, Any] = {
    "name": "search_lanes",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "budget": {"trials": MARKS[-1]},
    # What ``auto`` takes, and here may not leave for a cheaper one, should the machine be busy.
    "sampler": {"name": "conditional_gp"},
    # Whoever is pruned ends early, so with many trials at work the worst would come first.
    "pruner": {"name": "none"},
    "data": {"name": "digits", "batch_size": {"choices": [32, 64]}},
    "model": {
        "architecture": "mlp",
        "depth": 1,
        "width": {"choices": [16, 32, 64]},
        "activation": {"choices": ["relu", "tanh", "gelu"]},
        "dropout": {"low": 0.05, "high": 0.5},
    },
    "train": {
        "epochs": 4,
        "optimizer": "sgd",
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "momentum": {"low": 0.5, "high": 0.99},
        "l2": {"low": 1e-7, "high": 1e-2, "log": True},
    },
    "tracking": {"log_models": "none"},
}


@dataclass(frozen=True)
class Way:
    """How a study's trials are trained.

    Attributes:
        title: Of its row.
        run: As in a study file.
        n_workers: Processes.
    """

    title: str
    run: Mapping[str, int]
    n_workers: int = 1


ONE = Way("one trial at a time", {})
WAYS = (
    ONE,
    Way("8 workers, a trial each", {}, n_workers=8),
    Way("8 lanes, packs of 8", {"pack": 8}),
    Way("16 lanes, packs of 8", {"lanes": 16, "pack": 8}),
    Way("32 lanes, packs of 8", {"lanes": 32, "pack": 8}),
)
#: Trials at work in searches of problems.
PENDING = (1, 8, 16)


@dataclass
class Found:
    """What one study found.

    Attributes:
        losses: Lowest validation loss of each trial, in the order of their ends; nan for none.
        cpu_s: Of all that trained.
        n_together: Members of a pack that had a batch in one of its steps, on average; 0 without.
    """

    losses: list[float]
    cpu_s: float
    n_together: float


def search(way: Way, seed: int) -> Found:
    """Train a whole study."""
    with TemporaryDirectory() as folder:
        begun_s, study = _cpu_s(), _open(Path(folder), way, seed)
        study.queue.top_up()
        with _counting_packs() as sizes:
            _work(study, Path(folder), way, seed)
        cpu_s = _cpu_s() - begun_s
        trials = [trial for trial in study.trials() if trial.state.is_finished()]
        assert len(trials) == study.goal, study.counts()
    trials.sort(key=lambda trial: (trial.datetime_complete, trial.number))
    losses = [min(trial.intermediate_values.values(), default=math.nan) for trial in trials]
    return Found(losses, cpu_s, mean(sizes or [0]))


def _open(folder: Path, way: Way, seed: int) -> SweepStudy:
    text = yaml.safe_dump({**_STUDY, "seed": seed, "run": dict(way.run)}, sort_keys=False)
    spec = parse_study(text, folder / "search_lanes.yaml")
    return create_study(spec, RunPaths(folder / "mlruns", spec.name))


def _work(study: SweepStudy, folder: Path, way: Way, seed: int) -> None:
    if way.n_workers == 1:
        _work_alone(study, "worker")
        return
    context = multiprocessing.get_context("fork")

    def work(name: str) -> None:
        _work_alone(_open(folder, way, seed), name)

    processes = [context.Process(target=work, args=(f"w{n}",)) for n in range(way.n_workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _work_alone(study: SweepStudy, name: str) -> None:
    study.leases.renew(_AGENT)
    renewed_s = time.monotonic()

    def tell_epochs(number: int, epochs: float) -> None:
        nonlocal renewed_s
        if time.monotonic() - renewed_s > 1:
            renewed_s = time.monotonic()
            study.leases.renew(_AGENT)

    args = _args(study, name)
    Worker(
        args,
        study,
        StopRequest(),
        tell=lambda text: print(f"  {text}"),
        tell_epochs=tell_epochs,
        tell_over=lambda number: None,
    ).work()


def _args(study: SweepStudy, name: str) -> WorkerArgs:
    """As an agent has them for a worker on one core."""
    return WorkerArgs(
        root=str(study.paths.root),
        study=study.spec.name,
        study_file=str(study.spec.path),
        origins={},
        overrides=[],
        storage=study.spec.storage,
        agent=_AGENT,
        name=name,
        given_s=time.time(),
        import_dirs=[],
        functions="",
        device="cpu",
        devices=["cpu"],
        visible="",
        n_threads=1,
        n_sharing=1,
        data_label="digits",
        failed_before=[],
        tracking_uri="",
        code="",
        tags={},
    )


@contextmanager
def _counting_packs() -> Iterator[list[int]]:
    """Members at work in each step of a pack."""
    sizes: list[int] = []
    step = Pack.step

    def counted(pack: Pack) -> None:
        sizes.append(len(pack.names_at_work))
        step(pack)

    Pack.step = counted  # type: ignore[assignment, method-assign]
    try:
        yield sizes
    finally:
        Pack.step = step  # type: ignore[method-assign]


def _cpu_s() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


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
    """A row for each way of training."""
    head = ["trained", "lowest validation loss, median [quartiles]", "less one at a time, %"]
    head += ["trials a pack", "CPU s"]
    logs = {
        title: [[math.log(best) for best in _best(each.losses)] for each in by_seed]
        for title, by_seed in found.items()
    }
    rows = []
    for title, by_seed in found.items():
        best = zip(*(_best(each.losses) for each in by_seed), strict=True)
        rows.append(
            [
                title,
                " / ".join(map(render_quartiles, best)),
                "" if title == ONE.title else _paired(logs[title], logs[ONE.title], scale=100),
                f"{n:.1f}" if (n := mean(each.n_together for each in by_seed)) else "",
                f"{median(each.cpu_s for each in by_seed):.1f}",
            ]
        )
    return render_table(head, rows)


def _best(losses: Sequence[float]) -> list[float]:
    return [min(loss for loss in losses[:mark] if math.isfinite(loss)) for mark in MARKS]


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
            best = " / ".join(map(render_quartiles, zip(*by_search, strict=True)))
            less = "" if n == 1 else _paired(by_search, regrets[1])
            rows.append([trial.title, str(n), str(len(by_search)), best, less])
    head = ["search", "trials at work", "n", "regret, median [quartiles]", "less one at a time"]
    return render_table(head, rows)


def _regrets(trial: Trial, n_pending: int, n_seeds: int, kept: Kept) -> list[list[float]]:
    """Of each problem and seed, at each mark."""

    def search(problem: Problem, seed: int) -> list[float]:
        asked, _ = replay(problem, seed, MARKS[-1], n_pending=n_pending)
        return best_at(asked, trial)

    return [
        kept.result(f"{problem.name}, {n_pending} at work", seed, partial(search, problem, seed))
        for seed in range(n_seeds)
        for problem in trial.problems
    ]


def _paired(
    many: Sequence[Sequence[float]], one: Sequence[Sequence[float]], scale: float = 1
) -> str:
    """Mean difference of the same search and its standard error, at each mark."""
    cells = []
    for at in range(len(MARKS)):
        less = [scale * (a[at] - b[at]) for a, b in zip(many, one, strict=True)]
        error = stdev(less) / math.sqrt(len(less))
        cells.append(f"{mean(less):+.2g} ({error:.2g})")
    return " / ".join(cells)


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
        "(its standard error) to the same search with one trial at a time; lower is better. "
        f"Digits, {arguments.seeds} seeds: MLPs of one layer; widths, batch sizes, activation, "
        "dropout, rate, momentum and L2 are searched by the default sampler, without a pruner; "
        "the difference is one of logarithms. Trials a pack are its members that had a batch in "
        "one of its steps, on average; widths and batch sizes make six kinds of programs.\n\n"
        f"{render_trained(found)}\n\n"
        "Problems of the search itself; its section tells what regret is in each.\n\n"
        f"{answered(arguments.tables, arguments.seeds // 2, kept)}\n\n{render_facts(facts)}"
    )
    write_section("The search with several trials at work", body)
    print(body)


if __name__ == "__main__":
    main()
