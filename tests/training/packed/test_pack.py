"""A member ends where the same trial alone ends, whatever its neighbours do."""

import copy
import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sweeper.config.settings import ModelConfig
from sweeper.training.learner import Runtime
from sweeper.training.packed.member import Member
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.rows import Rows
from tests.support.examples import examples
from tests.support.paired_trials import (
    CPU,
    MLP,
    Pair,
    evaluate_pairs,
    in_float32,
    rows_of,
    train_pairs,
)
from tests.support.tape import TapeCapture

DATA = rows_of()
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0},
    "momentum": {"optimizer": "sgd"},
    "nesterov": {"optimizer": "sgd", "nesterov": True},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.01},
}
#: With the share of its weights that an average keeps, which is the same step after each of them.
AVERAGED = [*((name, 0.9) for name in OPTIMIZERS), ("momentum", 0.0)]
MEMBERS: list[dict[str, Any]] = [
    {},
    {"l1": 0.01, "schedule": "cosine"},
    {"l2": 0.1, "schedule": "step", "learning_rate": 0.02},
    {"clip_grad_norm": 0.1, "schedule": "onecycle", "label_smoothing": 0.2},
    {"accumulate": 2, "l1": 0.02, "l2": 0.2, "clip_grad_norm": 0.2},
    {"class_weights": "balanced", "label_smoothing": 0.1},
]


def mlp(**params: Any) -> ModelConfig:
    return ModelConfig(architecture="mlp", params={**MLP.params, **params})


@pytest.mark.parametrize(("name", "ema"), AVERAGED)
def test_every_optimiser_with_every_penalty_and_schedule(name: str, ema: float) -> None:
    pack, rule = Pack(print), OPTIMIZERS[name]
    pairs = [
        Pair(pack, DATA, settings={**rule, **own, "ema": ema}, seed=seed)
        for seed, own in enumerate(MEMBERS)
    ]
    train_pairs(pack, pairs, 9)
    for pair in pairs:
        pair.check()
        pair.evaluate()
    pack.step()
    for pair in pairs:
        pair.end_evaluation()
        pair.end_training()
        pair.check()


class Behind(TapeCapture):
    """A device that has done nothing before it is waited for."""

    n_asked = 0

    @property
    def n_under_way(self) -> int:
        return self.n_asked

    @contextmanager
    def running(self) -> Iterator[None]:
        self.n_asked += 1
        yield

    def wait(self) -> None:
        self.n_asked = 0


@pytest.mark.parametrize("is_trained", [True, False])
def test_a_batch_is_kept_until_the_device_has_done_it(is_trained: bool) -> None:
    pack = Pack(print, Behind())
    member = Pair(pack, DATA).member
    take = member.train if is_trained else member.evaluate
    kept = []
    for inputs, targets in list(DATA.train.batches(4))[:2]:
        inputs = inputs.clone()  # nobody else has it
        kept.append(weakref.ref(inputs))
        take([(inputs, targets)])
        del inputs
        pack.step()
    assert all(batch() is not None for batch in kept)
    pack.wait()
    assert all(batch() is None for batch in kept)


def test_each_has_its_own_momentum_and_average() -> None:
    pack = Pack(print)
    pairs = [
        Pair(pack, DATA, settings={"momentum": momentum, "ema": ema}, seed=seed)
        for seed, (momentum, ema) in enumerate([(0.3, 0.99), (0.9, 0.2), (0.5, 0.999)])
    ]
    train_pairs(pack, pairs, 6)
    for pair in pairs:
        pair.check()


def test_activations_dropout_and_batch_norm_are_those_of_each() -> None:
    pack = Pack(print)
    kinds = [("relu", 0.1), ("tanh", 0.5), ("gelu", 0.3), ("relu", 0.9), ("elu", 0.2)]
    pairs = [
        Pair(pack, DATA, mlp(activation=name, dropout=p, batch_norm=True, depth=2), seed=seed)
        for seed, (name, p) in enumerate(kinds)
    ]
    train_pairs(pack, pairs, 6)
    evaluate_pairs(pack, pairs)
    for pair in pairs:
        pair.check()


def settings_of_members() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "learning_rate": st.sampled_from([0.01, 0.1]),
            "l1": st.sampled_from([0.0, 0.01]),
            "l2": st.sampled_from([0.0, 0.1]),
            "clip_grad_norm": st.sampled_from([None, 0.1]),
            "accumulate": st.integers(1, 3),
            "label_smoothing": st.sampled_from([0.0, 0.1]),
            "schedule": st.sampled_from(["constant", "cosine"]),
            "ema": st.just(0.9),
        }
    )


ACTIONS = ("train", "train", "train", "evaluate", "nothing", "end_training", "swap")


@examples(30)
@given(
    rule=st.sampled_from(sorted(OPTIMIZERS)),
    members=st.lists(settings_of_members(), min_size=1, max_size=4),
    rounds=st.lists(st.lists(st.sampled_from(ACTIONS), min_size=4, max_size=4), max_size=10),
)
def test_whatever_members_do_each_is_as_alone(
    rule: str, members: list[dict[str, Any]], rounds: list[list[str]]
) -> None:
    pack = Pack(print)
    model = mlp(dropout=0.3, batch_norm=True)
    pairs = [
        Pair(pack, DATA, model, {**OPTIMIZERS[rule], **own}, seed=seed)
        for seed, own in enumerate(members)
    ]
    for actions in rounds:
        for pair, action in zip(pairs, actions, strict=False):
            if action != "nothing":
                getattr(pair, action)()
        pack.step()
    evaluate_pairs(pack, pairs)
    for pair in pairs:
        pair.check()


def bits_of(pair: Pair) -> dict[str, Any]:
    return copy.deepcopy(pair.member.state_dict())


def assert_bit_equal(first: Any, second: Any) -> None:
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def test_who_is_given_nothing_does_not_move_by_a_bit() -> None:
    pack = Pack(print)
    settings = {"optimizer": "adamw", "l2": 0.1, "l1": 0.1, "ema": 0.9, "accumulate": 2}
    pairs = [Pair(pack, DATA, mlp(batch_norm=True), settings, seed=seed) for seed in range(3)]
    train_pairs(pack, pairs, 3)  # with gradients that are pending
    before = bits_of(pairs[1])
    train_pairs(pack, [pairs[0], pairs[2]], 5)
    pairs[1].evaluate()
    train_pairs(pack, [pairs[0]], 1)
    pairs[1].end_evaluation()
    assert_bit_equal(bits_of(pairs[1]), before)
    train_pairs(pack, pairs, 3)
    for pair in pairs:
        pair.check()


@pytest.mark.parametrize(
    "model",
    [
        mlp(dropout=0.3, batch_norm=True),
        ModelConfig(architecture="cnn", params={"channels": 4, "depth": 1, "batch_norm": True}),
    ],
    ids=["mlp", "cnn"],
)
def test_who_diverges_leaves_the_others_as_they_are_bit_for_bit(model: ModelConfig) -> None:
    data = rows_of((1, 4, 4))

    def train(rate: float) -> list[dict[str, Any]]:
        pack = Pack(print)
        rates = [0.05, rate, 0.05]
        pairs = [
            Pair(pack, data, model, {"learning_rate": each, "clip_grad_norm": 1e300}, seed=seed)
            for seed, each in enumerate(rates)
        ]
        train_pairs(pack, pairs, 8)
        return [bits_of(pair) for pair in pairs]

    calm, wild = train(0.05), train(1e200)
    assert not math.isfinite(sum(t.sum().item() for t in wild[1]["optimizer"]["state"]))
    assert_bit_equal(wild[0], calm[0])
    assert_bit_equal(wild[2], calm[2])


def test_one_leaves_and_another_comes_while_the_rest_goes_on() -> None:
    pack = Pack(print)
    settings = {"optimizer": "adam", "accumulate": 2, "ema": 0.9}
    pairs = [Pair(pack, DATA, MLP, settings, seed=seed) for seed in range(3)]
    train_pairs(pack, pairs, 3)
    gone = pairs.pop(1)
    alone = pack.leave(gone.member)
    for tensor in (*alone.parameters, *alone.model.buffers()):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes  # it keeps no neighbour alive
    kept = copy.deepcopy(alone.state_dict())
    pairs.append(Pair(pack, DATA, mlp(activation="tanh"), settings, seed=7))
    train_pairs(pack, pairs, 4)
    for pair in pairs:
        pair.check()
    assert_bit_equal(alone.state_dict(), kept)
    torch.manual_seed(0)
    alone.train([gone.batch])
    torch.manual_seed(0)
    gone.alone.train([gone.batch])
    torch.testing.assert_close(alone.weights(), gone.alone.weights(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("task", "own"),
    [
        ("classification", [{}, {"class_weights": "balanced"}, {"label_smoothing": 0.3}]),
        ("classification", [{"mixup": 0.4}, {"mixup": 0.2, "label_smoothing": 0.3}]),
        ("multilabel", [{}, {"class_weights": "balanced"}]),
        ("multilabel", [{"mixup": 0.4}, {"mixup": 0.4, "class_weights": "balanced"}]),
        ("regression", [{}, {"l2": 0.1}]),
        ("regression", [{"loss": "mae"}, {"loss": "mae"}]),
        ("regression", [{"loss": "huber"}, {"loss": "huber", "mixup": 0.4}]),
    ],
)
def test_every_task_and_loss(task: Any, own: list[dict[str, Any]]) -> None:
    data, pack = rows_of(task=task), Pack(print)
    pairs = [Pair(pack, data, settings=each, seed=seed) for seed, each in enumerate(own)]
    train_pairs(pack, pairs, 5)
    evaluate_pairs(pack, pairs)
    for pair in pairs:
        pair.end_training()
        pair.check()


def test_pictures_are_changed_for_each_as_for_it_alone() -> None:
    data, pack = rows_of((3, 8, 8)), Pack(print)
    changes: list[dict[str, Any]] = [
        {"random_crop": 1, "random_flip": True},
        {"cutout": 3, "color_jitter": 0.3},
        {},
    ]
    pairs = [Pair(pack, data, settings=own, seed=seed) for seed, own in enumerate(changes)]
    train_pairs(pack, pairs, 4)
    for pair in pairs:
        pair.check()


def test_in_float32_sgd_of_an_mlp_stays_within_a_millionth() -> None:
    pack = Pack(print)
    data = in_float32(rows_of())
    pairs = [Pair(pack, data, seed=seed, dtype=torch.float32) for seed in range(4)]
    train_pairs(pack, pairs, 40)
    for pair in pairs:
        own, alone = (
            torch.cat([value.flatten() for value in learner.weights().values()])
            for learner in (pair.member, pair.alone)
        )
        assert (own - alone).norm() < 1e-6 * alone.norm()


def test_bf16_computes_in_bf16() -> None:
    pack, data = Pack(print), in_float32(rows_of())
    form: dict[str, Any] = {"dtype": torch.float32, "runtime": Runtime(CPU, "bf16")}
    model = mlp(dropout=0.5)
    pairs = [Pair(pack, data, model, seed=seed, **form) for seed in range(2)]
    train_pairs(pack, pairs, 3)
    lone = Pack(print)
    plain = Pair(lone, data, model, seed=0, dtype=torch.float32)
    train_pairs(lone, [plain], 3)
    for pair in pairs:
        pair.check(1e-2)  # sums of bf16 are not taken in the same order
    first, other = (pair.member.weights()["1.weight"] for pair in (pairs[0], plain))
    assert first.dtype == torch.float32
    assert not torch.equal(first, other)


class OfTwo(torch.autograd.Function):
    """What passes is refused for more than two members at once."""

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    def setup_context(*_: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient

    @staticmethod
    def vmap(info: Any, in_dims: Any, inputs: Tensor) -> tuple[Tensor, int]:
        if info.batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs.clone(), in_dims[0]


class Large(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = OfTwo.apply(self.linear(inputs))
        return found


def test_for_whom_there_is_no_memory_at_once_there_is_one_by_one() -> None:
    told: list[str] = []
    pack = Pack(told.append)
    pairs = [Pair(pack, DATA, Large(), seed=4 * seed) for seed in range(4)]
    train_pairs(pack, pairs, 3)
    for pair in pairs:
        pair.check()
    assert told == [
        "run.pack: the device has not enough memory for 4 trials of this kind at once; from now "
        "on it is 2"
    ]


def test_what_too_many_needed_is_free_again_for_fewer() -> None:
    kept: list[weakref.ref[Tensor]] = []

    class Kept(OfTwo):
        @staticmethod
        def vmap(info: Any, in_dims: Any, inputs: Tensor) -> tuple[Tensor, int]:
            assert [reference() for reference in kept] == [None] * len(kept)
            needed = inputs.clone()
            kept.append(weakref.ref(needed))
            return OfTwo.vmap(info, in_dims, inputs)

    class Keeping(Large):
        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = Kept.apply(self.linear(inputs))
            return found

    pack = Pack(print)
    pairs = [Pair(pack, DATA, Keeping(), seed=4 * seed) for seed in range(4)]
    train_pairs(pack, pairs, 1)
    assert len(kept) == 3
    for pair in pairs:
        pair.check()


class OfThree(Rows):
    """As if there were memory for three members."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        if len(members) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")


def test_for_whom_there_is_no_room_beside_others_ends_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sweeper.training.packed.layout.Rows", OfThree)
    pack = Pack(print)
    kinds = ["tanh", "relu", "gelu", "relu", "elu"]
    pairs = [Pair(pack, DATA, mlp(activation=kind), seed=n) for n, kind in enumerate(kinds)]
    train_pairs(pack, pairs, 1)
    for pair in pairs[3:]:  # who came last
        with pytest.raises(torch.OutOfMemoryError):
            pair.member.end_training()
        pack.leave(pair.member)
    train_pairs(pack, pairs[:3], 3)
    for pair in pairs[:3]:
        pair.check()


def test_an_error_is_raised_by_the_member_that_it_is_of_and_ends_no_other() -> None:
    pack = Pack(print)
    pairs = [Pair(pack, DATA, seed=seed) for seed in range(4)]
    train_pairs(pack, pairs, 2)
    before = bits_of(pairs[2])
    inputs, targets = pairs[2].batch
    for pair in (pairs[0], pairs[1], pairs[3]):
        pair.n_done = 0  # batches of eight rows
        pair.train()
    pairs[2].member.train([(inputs[:8], torch.full((len(inputs),), 99))])
    pack.step()
    with pytest.raises((IndexError, RuntimeError), match="out of (bounds|range)"):
        pairs[2].member.end_training()
    alone = pack.leave(pairs[2].member)
    assert_bit_equal(alone.state_dict(), before)
    train_pairs(pack, [pairs[0], pairs[1], pairs[3]], 2)
    for pair in (pairs[0], pairs[1], pairs[3]):
        pair.check()
