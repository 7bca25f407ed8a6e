"""The matrix products of fixed trials alone, on every core: a floor under any program's time.

    python benchmarks/products.py benchmarks/studies/mlp_trials.yaml CACHE

It computes what the updates of the study's trials need of matrix products, convolutions and
attention, as ``step.py`` lists them, in float32: no losses, no optimiser, no evaluation, no
records. Of the data, which lie in CACHE as sweeper decodes them, only the forms of batches count:
products are listed for one batch of each form. As many processes as there are cores share the
updates, each with one thread.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from step import Block, first_config, list_products, run_products

import sweeper
from sweeper.config.study import StudySpec
from sweeper.data.cache import prepare_data
from sweeper.data.dataset import TrialData, load_data
from sweeper.data.order import Shuffle
from sweeper.training.build import build_learner
from sweeper.training.learner import Runtime
from sweeper.workers.devices import available_cores
from sweeper.workers.memory import keep_freed_memory

CPU = torch.device("cpu")


def prepare(study: StudySpec, cache: Path) -> None:
    """Decode the data of a study, which is no part of any comparison."""
    config = first_config(study).data
    assert config is not None
    prepare_data(config, cache_dir=cache)


def list_updates(study: StudySpec, data: TrialData) -> list[tuple[Sequence[Block], int]]:
    """The products of an update, and how many such updates all trials have, by form of batch."""
    config = first_config(study)
    assert config.data is not None
    epochs = study.sections["train"]["epochs"]
    assert isinstance(epochs, int)
    torch.manual_seed(0)
    model = build_learner(config, data, Runtime(CPU)).model
    batches, counts = {}, Counter[torch.Size]()
    shuffle = Shuffle(0)
    for inputs, _ in data.train.batches(config.data.batch_size, shuffle=shuffle):
        batches[inputs.shape] = inputs
        counts[inputs.shape] += study.n_trials * epochs
    return [(list_products(model, batches[form]), n) for form, n in counts.items()]


def run_share(updates: Sequence[tuple[Sequence[Block], int]], core: int, n_cores: int) -> None:
    """Compute what one of ``n_cores`` processes has to."""
    for products, n_updates in updates:
        run_products(products, len(range(core, n_updates, n_cores)))


def main() -> None:
    """Compute them all once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("cache", type=Path, help="folder of its decoded data")
    arguments = parser.parse_args()
    study = sweeper.load(arguments.study).spec
    torch.set_num_threads(1)
    keep_freed_memory()
    config = first_config(study).data
    assert config is not None
    load = partial(load_data, seed=study.seed, device=CPU, resident_bytes=2**40)
    updates = list_updates(study, load(config, cache_dir=arguments.cache))
    n_cores = available_cores()
    context = get_context("fork")
    processes = [
        context.Process(target=run_share, args=(updates, core, n_cores)) for core in range(n_cores)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


if __name__ == "__main__":
    main()
