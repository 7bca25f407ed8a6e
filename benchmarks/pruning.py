"""A hundred trials with early stopping and without: the time to the same best value.

    python benchmarks/pruning.py --repeats 7 --data DIR

Each run is a whole ``sweeper run`` of ``studies/pruning.yaml`` with all cores, once with asha and
once with ``pruner: none``; each repeat has a seed of its own and swaps who begins. Settings are
drawn at random, so trial n of both has the same ones and the same numbers as far as it trains: all
that differs is what is left out. *The same best* is the lower of the two best validation
accuracies that they end with; each is timed until any epoch of any trial reaches it, from the
start of its first trial, by the event logs. Pruning may miss the best setting, so both final
values stand beside the times.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

import yaml
from contenders import Contender, measure
from mnist import add_data_option, fetch_mnist
from results import (
    HERE,
    describe_machine,
    render_facts,
    render_spread,
    render_table,
    write_section,
)

from sweeper.events import Ended, Event, Started, read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics, TrialState

STUDIES = HERE / "studies"
PRUNERS = ("asha", "none")
METRIC = "val_accuracy"


@dataclass(frozen=True)
class Course:
    """How a study went.

    Attributes:
        values: Each epoch's seconds since the first trial began, and its accuracy, by time.
        seconds: From the start of the first trial to the end of the last.
        n_pruned: Trials that the pruner ended.
    """

    values: Sequence[tuple[float, float]]
    seconds: float
    n_pruned: int

    @property
    def best(self) -> float:
        """The highest accuracy of all epochs."""
        return max(value for _, value in self.values)

    def seconds_to(self, target: float) -> float:
        """When an epoch first reached the target, which one has."""
        return next(seconds for seconds, value in self.values if value >= target)


def contender(pruner: str, seed: int, n_trials: int, data: Path) -> Contender[Course]:
    """The study with that pruner, seed and number of trials, ready to run."""
    plain = yaml.safe_load((STUDIES / "pruning.yaml").read_text())
    plain |= {"seed": seed, "budget": {"trials": n_trials}}
    if pruner == "none":
        plain["pruner"] = {"name": "none"}
    return Contender(
        pruner,
        [sys.executable, "-m", "sweeper", "run", "pruning.yaml"],
        read_folder,
        environment={"SWEEPER_DATA": str(data)},
        files={
            "pruning.yaml": yaml.safe_dump(plain),
            "mnist_subset.py": (STUDIES / "mnist_subset.py").read_text(),
        },
    )


def read_folder(folder: Path) -> Course:
    """The course of the study that ran in a folder."""
    paths = RunPaths(folder / "mlruns", "pruning")
    logs = [read_events(paths.events(number))[0] for number in paths.trial_numbers()]
    return read_course(list(chain.from_iterable(logs)))


def read_course(events: Sequence[Event]) -> Course:
    """The course of a study from the events of all its trials, in any order."""
    begun_s = min(event.time_s for event in events if isinstance(event, Started))
    ended = [event for event in events if isinstance(event, Ended)]
    return Course(
        sorted(
            (event.time_s - begun_s, event.values[METRIC])
            for event in events
            if isinstance(event, EpochMetrics)
        ),
        max(event.time_s for event in ended) - begun_s,
        sum(event.outcome.state == TrialState.PRUNED for event in ended),
    )


def render(measured: Mapping[int, Mapping[str, Course]], n_trials: int) -> str:
    """Seed by seed, then the ratios."""
    rows, gains, totals = [], [], []
    for seed, courses in measured.items():
        target = min(course.best for course in courses.values())
        to_best = {pruner: course.seconds_to(target) for pruner, course in courses.items()}
        gains.append(to_best["none"] / to_best["asha"])
        totals.append(courses["none"].seconds / courses["asha"].seconds)
        rows += [
            [str(seed), pruner, f"{course.best:.4f}", f"{target:.4f}", f"{to_best[pruner]:.1f}"]
            + [f"{course.seconds:.1f}", str(len(course.values)), str(course.n_pruned)]
            for pruner, course in sorted(courses.items())
        ]
    head = ["seed", "pruner", "its best", "the same best", "reached after, s", "all trials, s"]
    return (
        f"{n_trials} MLP trials x 10 epochs on 6,000 images of MNIST, random settings. **With "
        f"asha the same best is there {median(gains):.1f} x as early, and all trials are over "
        f"{median(totals):.1f} x as early** (medians of n = {len(gains)} seeds; "
        f"{render_spread(gains)} and {render_spread(totals)}).\n\n"
    ) + render_table([*head, "epochs", "pruned"], rows)


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="seeds")
    parser.add_argument("--trials", type=int, default=100)
    add_data_option(parser)
    arguments = parser.parse_args()
    data = fetch_mnist(arguments.data)
    facts = describe_machine(
        f"python benchmarks/pruning.py --repeats {arguments.repeats} --trials {arguments.trials}"
    )
    measured: dict[int, dict[str, Course]] = {}
    order = list(PRUNERS)
    for seed in range(1, arguments.repeats + 1):
        measured[seed] = {}
        for pruner in order:
            course = measure(contender(pruner, seed, arguments.trials, data)).found
            print(f"seed {seed}: {pruner} {course.seconds:.1f} s, {course.best:.4f}", flush=True)
            measured[seed][pruner] = course
        order.reverse()
    body = f"{render(measured, arguments.trials)}\n\n{render_facts(facts)}"
    write_section("A hundred trials with asha and without", body)
    print(body)


if __name__ == "__main__":
    main()
