"""The matrix products of fixed trials alone, on every core: a floor under any program's time.

    python benchmarks/products.py benchmarks/studies/mlp_trials.yaml

It computes what the updates of the study's trials need of linear and convolution layers, as
``step.py`` lists it, in float32: no data, no losses, no optimiser, no evaluation, no records. As
many processes as there are cores share the updates, each with one thread.
"""

import argparse
import math
from multiprocessing import get_context
from pathlib import Path

import torch
from step import CASES, N_ROWS, build_step, list_products, run_products

import sweeper
from sweeper.config.study import StudySpec
from sweeper.workers.devices import available_cores


def count_updates(study: StudySpec) -> int:
    """Updates of all trials of a study of fixed epochs and batch size."""
    epochs, batch_size = study.sections["train"]["epochs"], study.sections["data"]["batch_size"]
    assert isinstance(epochs, int)
    assert isinstance(batch_size, int)
    return study.n_trials * epochs * math.ceil(N_ROWS / batch_size)


def main() -> None:
    """Compute them all once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="one of those that step.py has a case of")
    study = sweeper.load(parser.parse_args().study)
    torch.set_num_threads(1)
    model, inputs, _ = build_step(next(case for case in CASES if case.study == study.name))
    products, n_updates, n_cores = (
        list_products(model, inputs),
        count_updates(study),
        available_cores(),
    )
    shares = [len(range(core, n_updates, n_cores)) for core in range(n_cores)]
    context = get_context("fork")
    processes = [context.Process(target=run_products, args=(products, n)) for n in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


if __name__ == "__main__":
    main()
