"""One training step of a table, texts and speech: sweeper's beside the plain script's.

    python benchmarks/plain_step.py --repeats 3 --data DIR

Whole epochs of the fixed trials' networks in one process with one thread, in turns: data, forward,
backward, update, by sweeper's split and learner and by the loop of ``baselines/``; and the matrix
products alone, of batches of the same forms. It is CPU time that is given, as other work on the
machine weighs less on it. What sweeper gains by a worker on each core is not in it.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median

import torch
from contenders import BASELINES
from fixed_trials import SCENARIOS, Scenario, load_study
from mnist import add_data_option
from products import CPU, list_updates, prepare, run_share
from results import describe_machine, render_facts, render_spread, render_table, write_section
from step import break_down, first_config

from sweeper.config.study import StudySpec
from sweeper.data.dataset import load_data
from sweeper.data.order import Shuffle
from sweeper.errors import SweeperError
from sweeper.training.build import build_learner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.workers.memory import keep_freed_memory

NAMES = [name for name, scenario in SCENARIOS.items() if not scenario.is_mnist]

#: Operators of a step that are named.
_SHOWN = 6


def our_epochs(study: StudySpec, cache: Path) -> tuple[Mapping[str, Callable[[], object]], int]:
    """An epoch of a study's first trial, and its products alone; and how many steps that is."""
    config = first_config(study)
    assert config.data is not None
    load = partial(load_data, seed=study.seed, device=CPU, resident_bytes=2**40)
    data, size = load(config.data, cache_dir=cache), config.data.batch_size
    shuffle = Shuffle(0)
    learner = build_learner(config, data, Runtime(CPU))
    updates, n_steps = list_updates(study, data), -(-data.train.n_rows // size)
    n_epochs = sum(n for _, n in updates) // n_steps
    return {
        "sweeper": lambda: train_epoch(learner, data.train.batches(size, shuffle=shuffle)),
        "products": partial(run_share, updates, 0, n_epochs),
    }, n_steps


def plain_epoch(scenario: Scenario, data: Path) -> Callable[[], object]:
    """The same of the plain script."""
    module, training = import_module(scenario.data_set), import_module("training")
    rows, setting = module.Data(data), module.SETTINGS[0]
    model, batches = module.build_model(scenario.network, setting, rows), rows.train_loader()
    # So many updates that the rate stays.
    optimizer, schedule = module.build_optimizer(model, setting, 10**9)
    epoch: Callable[[], object] = partial(
        training.train_epoch, model, batches, optimizer, schedule
    )
    return epoch


def compare(
    epochs: Mapping[str, Callable[[], object]], n_steps: int, n_repeats: int
) -> dict[str, list[float]]:
    """Milliseconds of CPU time a step of each, after one epoch that is not counted."""
    order = list(epochs.items())
    millis: dict[str, list[float]] = {name: [] for name in epochs}
    for repeat in range(n_repeats + 1):
        for name, epoch in order:
            begun = time.process_time()
            epoch()
            if repeat:
                millis[name].append((time.process_time() - begun) * 1e3 / n_steps)
        order.reverse()
    return millis


def render(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The steps as a table."""
    rows = [
        [
            SCENARIOS[name].what,
            *(render_spread(millis[each], 2) for each in ("products", "sweeper", "plain")),
            f"{median(millis['plain']) / median(millis['sweeper']):.1f}",
            f"{median(millis['plain']) / median(millis['products']):.1f}",
        ]
        for name, millis in measured.items()
    ]
    n_repeats = len(next(iter(measured.values()))["sweeper"])
    return (
        "Milliseconds of CPU time of one training step on one thread, median (min - max) of "
        f"n = {n_repeats} epochs each, in turns. A worker on each core multiplies what sweeper "
        "gains; products alone are the limit.\n\n"
        + render_table(
            [
                "",
                "products alone",
                "sweeper",
                "plain script",
                "plain / sweeper",
                "plain / products",
            ],
            rows,
        )
    )


def render_operators(name: str, epoch: Callable[[], object], n_steps: int) -> str:
    """Where sweeper's step spends its time, as a line."""
    rows, _ = break_down(epoch, n_steps, _SHOWN)
    operators = ", ".join(f"{key} {share}" for key, _, _, share in rows)
    return f"- {SCENARIOS[name].what}: {operators}"


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each")
    add_data_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.path.append(str(BASELINES))
    facts = describe_machine(f"python benchmarks/plain_step.py --repeats {arguments.repeats}")
    os.environ["SWEEPER_DATA"] = str(arguments.data.resolve())
    measured, operators = {}, []
    with tempfile.TemporaryDirectory() as cache:
        for name in NAMES:
            study = load_study(name)
            try:
                prepare(study, Path(cache))
            except SweeperError as exc:
                sys.exit(str(exc))
            epochs, n_steps = our_epochs(study, Path(cache))
            both = {**epochs, "plain": plain_epoch(SCENARIOS[name], arguments.data)}
            measured[name] = compare(both, n_steps, arguments.repeats)
            operators.append(render_operators(name, epochs["sweeper"], n_steps))
            print(name, measured[name], operators[-1], flush=True)
    told = "Operators of sweeper's step by their own time, by torch's profiler:\n\n"
    body = "\n\n".join([render(measured), told + "\n".join(operators), render_facts(facts)])
    write_section("Training step beside the plain script's", body)
    print(body)


if __name__ == "__main__":
    main()
