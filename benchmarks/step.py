"""One training step beside its matrix products alone.

    python benchmarks/step.py --repeats 30

The step is all that a worker does with a batch of a fixed trial of ``studies/``: gather it from
rows that lie in memory, normalise, forward, backward, L1, L2, SGD with momentum, sum the losses,
by sweeper's own split and learner. Beside it stand its products of matrices and its convolutions
alone, as a step calls them: forward, gradient of the weights, and gradient of the inputs except
for the first layer's. Products of matrices are written into tensors that are there already. Both
run with one thread and the memory allocator set as a worker sets it, in blocks that
take turns in one process, and each repeat swaps who begins. The products find warmer caches than
a step leaves them, which favours them.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from statistics import median
from typing import Any

import torch
from results import (
    HERE,
    describe_machine,
    render_facts,
    render_spread,
    render_table,
    write_section,
)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

import sweeper
from sweeper.config.settings import TrainConfig, TrialConfig
from sweeper.config.space import suggest_config
from sweeper.config.study import StudySpec
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.data.order import Shuffle
from sweeper.data.scale import Normalisation
from sweeper.training.build import build_learner
from sweeper.training.learner import Learner, Runtime, train_epoch
from sweeper.trial import DataInfo
from sweeper.workers.memory import keep_freed_memory

INPUT_SHAPE, N_CLASSES, N_ROWS = (1, 28, 28), 10, 54_000
#: Operators that the breakdown names; the others are summed.
_SHOWN = 12

Block = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A step to be measured: a study file of ``studies/`` and what is changed in it."""

    name: str
    study: str
    n_steps: int
    plain: bool = False


CASES = (
    Case("MLP 784-256-256-10", "mlp_trials", n_steps=200),
    Case("the same without dropout and L1", "mlp_trials", n_steps=200, plain=True),
    Case("CNN", "cnn_trials", n_steps=20),
)


def first_config(study: StudySpec) -> TrialConfig:
    """Of the first trial that is enqueued."""
    return suggest_config(study, lambda name, _: study.enqueue[0][name], seed=study.seed)


def build_step(case: Case) -> tuple[nn.Module, Tensor, Block]:
    """The model of a case, one batch for it, and a block of training steps."""
    study = sweeper.load(HERE / "studies" / f"{case.study}.yaml").spec
    config = first_config(study)
    assert config.data is not None
    assert config.model is not None
    assert isinstance(config.train, TrainConfig)
    size = config.data.batch_size
    if case.plain:
        model = replace(config.model, params={**config.model.params, "dropout": 0.0})
        config = replace(config, model=model, train=replace(config.train, l1=0.0))
    torch.manual_seed(0)
    split = random_images()
    info = DataInfo("random", "", INPUT_SHAPE, N_CLASSES, N_ROWS, N_ROWS)
    learner = build_learner(config, TrialData(info, split, split), Runtime(torch.device("cpu")))
    shuffle = Shuffle(0)
    batches = chain.from_iterable(split.batches(size, shuffle=shuffle) for _ in count())
    return learner.model, next(batches)[0], partial(train_block, learner, batches, case.n_steps)


def random_images() -> ResidentSplit:
    """As many as a tenth for validation leaves of MNIST, and of its form."""
    return ResidentSplit(
        torch.randint(256, (N_ROWS, *INPUT_SHAPE), dtype=torch.uint8),
        torch.randint(N_CLASSES, (N_ROWS,)),
        torch.arange(N_ROWS),
        Normalisation((0.5,), (0.3,), input_shape=INPUT_SHAPE, device=torch.device("cpu")),
    )


def train_block(learner: Learner, batches: Iterator[tuple[Tensor, Tensor]], n_steps: int) -> None:
    train_epoch(learner, islice(batches, n_steps))


#: Operators that are products of matrices, with their forms that write into tensors which are
#: there already, where there are such.
_ATEN = torch.ops.aten
_PRODUCTS = {
    _ATEN.mm.default: _ATEN.mm.out,
    _ATEN.addmm.default: _ATEN.addmm.out,
    _ATEN.bmm.default: _ATEN.bmm.out,
    _ATEN.baddbmm.default: _ATEN.baddbmm.out,
    _ATEN.convolution.default: None,
    _ATEN.convolution_backward.default: None,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default: None,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward.default: None,
}


class _ProductRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the products that torch is asked for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Block] = []

    def __torch_dispatch__(
        self,
        operator: Any,
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        options = options or {}
        result = operator(*arguments, **options)
        if operator in _PRODUCTS:
            into = _PRODUCTS[operator]
            again = (
                partial(operator, *arguments, **options)
                if into is None
                else partial(into, *arguments, **options, out=torch.empty_like(result))
            )
            self.products.append(again)
        return result


def list_products(model: nn.Module, inputs: Tensor) -> list[Block]:
    """The matrix products, convolutions and attentions of one step, in the order of the step.

    Args:
        model: In training.
        inputs: A batch [B, ...].
    """
    model.train()
    recorder = _ProductRecorder()
    with recorder:
        outputs = model(inputs)
        outputs.backward(torch.randn_like(outputs))
    return recorder.products


def run_products(products: Sequence[Block], n_steps: int) -> None:
    with torch.no_grad():
        for _ in range(n_steps):
            for product in products:
                product()


def compare(case: Case, n_repeats: int) -> dict[str, list[float]]:
    """Microseconds of a step in each block: of the products alone, and of the whole step."""
    model, inputs, step = build_step(case)
    products = partial(run_products, list_products(model, inputs), case.n_steps)
    order: list[tuple[str, Block]] = [("products", products), ("step", step)]
    for _, block in order:
        block()  # What a first call sets up is no part of a step.
    micros: dict[str, list[float]] = {"products": [], "step": []}
    for _ in range(n_repeats):
        for name, block in order:
            begun = time.perf_counter()
            block()
            micros[name].append((time.perf_counter() - begun) * 1e6 / case.n_steps)
        order.reverse()
    return micros


def break_down(block: Block, n_steps: int, n_shown: int) -> tuple[list[list[str]], float]:
    """Where a step's time goes, and the microseconds of a step while torch's profiler looks on.

    Args:
        block: Does ``n_steps`` steps, not for the first time.
        n_steps: Of it.
        n_shown: Operators that are named; the others are summed.

    Returns:
        Rows of operator, calls a step, microseconds of its own a step, and their share of all
        operators'.
    """
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        begun = time.perf_counter()
        block()
        micros = (time.perf_counter() - begun) * 1e6 / n_steps
    figures = sorted(
        (
            (row.self_cpu_time_total / n_steps, row.count / n_steps, row.key)
            for row in profiler.key_averages()
        ),
        reverse=True,
    )
    total = sum(own for own, _, _ in figures)
    shown, others = figures[:n_shown], figures[n_shown:]
    rest = f"{len(others)} others"
    shown.append((sum(own for own, _, _ in others), sum(n for _, n, _ in others), rest))
    return [[key, f"{n:.1f}", f"{own:.0f}", f"{own / total:.0%}"] for own, n, key in shown], micros


def render(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The steps as a table."""
    rows = [
        [
            name,
            render_spread(micros["products"], 0),
            render_spread(micros["step"], 0),
            f"{median(micros['products']) / median(micros['step']):.0%}",
        ]
        for name, micros in measured.items()
    ]
    n_repeats = len(next(iter(measured.values()))["step"])
    return (
        "One training step of batch 64 on one thread, beside its matrix products alone: "
        f"**{rows[0][0]} trains at {rows[0][-1]} of their speed**. Microseconds a step, median "
        f"and min - max of n = {n_repeats} blocks each, in turns.\n\n"
        + render_table(["", "products alone", "whole step", "their share"], rows)
    )


def render_breakdown(case: Case, steps: Sequence[float]) -> str:
    """The operators of a step, measured now; ``steps`` are its microseconds unobserved."""
    _, _, block = build_step(case)
    block()
    rows, micros = break_down(block, case.n_steps, _SHOWN)
    return (
        f"Operators of a step of {case.name} by their own time. With torch's profiler a step "
        f"takes {micros:.0f} us instead of {median(steps):.0f}: it weighs on the many small ones; "
        "Python outside operators is not in the table.\n\n"
        + render_table(["operator", "calls", "own us", "share"], rows)
    )


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=30, help="blocks of each kind")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    facts = describe_machine(f"python benchmarks/step.py --repeats {arguments.repeats}")
    measured = {case.name: compare(case, arguments.repeats) for case in CASES}
    breakdowns = (
        render_breakdown(case, measured[case.name]["step"]) for case in CASES if not case.plain
    )
    body = "\n\n".join([render(measured), *breakdowns, render_facts(facts)])
    write_section("Training step", body)
    print(body)


if __name__ == "__main__":
    main()
