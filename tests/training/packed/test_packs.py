"""Trials of one program come together, up to a size; others are trained by themselves."""

import math
import weakref
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import LoaderSplit
from sweeper.training.build import build_learner
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Learner, Runtime
from sweeper.training.packed.member import Member
from sweeper.training.packed.packs import Membership, Packs
from tests.support.paired_trials import CPU, in_float32, rows_of
from tests.support.tape import TapeCapture

DATA = in_float32(rows_of())
BATCHES = list(DATA.train.batches(8))


def own_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets)


def own_network(shape: Sequence[int], n_outputs: int, dropout: float = 0.0) -> nn.Module:
    layers = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(6, n_outputs))


def convolutional(shape: Sequence[int], n_outputs: int) -> nn.Module:
    layers = [nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 2, 3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, n_outputs))


class TwoDtypes(nn.Module):
    def __init__(self, shape: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 4), nn.Linear(4, n_outputs).double()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.first(inputs.flatten(1)).double())
        return outputs.float()


def trial(
    model: str = "mlp", params: Mapping[str, Any] | None = None, **train: Any
) -> TrialConfig:
    return TrialConfig(
        params={},
        data=DataConfig(name="made", batch_size=8),
        model=ModelConfig(architecture=model, params={"width": 8} if params is None else params),
        train=TrainConfig(optimizer="sgd", **train),
        seed=0,
    )


def given(packs: Packs, learners: Iterable[Learner]) -> list[list[Hashable]]:
    """Names of the members of each pack that is at work once they have a batch."""
    for learner in learners:
        learner.train([BATCHES[0]])
    return [pack.names_at_work for pack in packs.at_work]


def build(packs: Packs, config: TrialConfig, name: str) -> Member:
    learner = packs.build(config, DATA, Runtime(CPU), name=name)
    assert isinstance(learner, Member)
    return learner


@pytest.mark.parametrize("takes_all", [True, False])
def test_networks_with_convolutions_can_be_left_out(takes_all: bool) -> None:
    packs = Packs(2, print, TapeCapture, takes_all=takes_all)
    cnn = trial(f"{__name__}:convolutional", {})
    names = given(packs, [build(packs, cnn, name) for name in ("first", "second")])
    assert names == ([["first", "second"]] if takes_all else [["first"], ["second"]])
    names = given(packs, [build(packs, trial(), name) for name in ("third", "fourth")])
    assert names[-1] == ["third", "fourth"]


def test_what_is_not_known_to_be_worth_a_pack_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = LoaderSplit(TensorDataset(*BATCHES[0]), torch.arange(8), None, device=CPU)
    loaded = replace(DATA, train=rows)
    told: list[str] = []
    packs = Packs(2, told.append, TapeCapture, takes_all=False)
    assert isinstance(packs.build(trial(), loaded, Runtime(CPU)), EagerLearner)
    assert told == [
        "run.pack: computed without CUDA graphs: batches are loaded one by one, or differ in "
        "their length"
    ]
    monkeypatch.setattr("sweeper.training.packed.packs._LARGEST", 1)
    names = given(packs, [build(packs, trial(), name) for name in ("first", "second")])
    assert names == [["first"], ["second"]]


def test_those_of_one_program_are_in_one_pack() -> None:
    packs = Packs(3, print)
    learners = [build(packs, trial(learning_rate=0.1 * n), f"trial {n}") for n in range(1, 5)]
    other = build(packs, trial(params={"width": 4}), "other")
    names = given(packs, [*learners, other])
    assert names == [["trial 1", "trial 2", "trial 3"], ["trial 4"], ["other"]]
    packs.at_work[0].step()
    assert [pack.names_at_work for pack in packs.at_work] == [["trial 4"], ["other"]]


def test_a_place_that_is_free_is_taken_by_the_next() -> None:
    packs = Packs(2, print)
    build(packs, trial(), "first")
    second = build(packs, trial(), "second")
    third = build(packs, trial(), "third")
    packs.leave("first")
    packs.leave("nobody")
    fourth = build(packs, trial(), "fourth")
    assert given(packs, [second, third, fourth]) == [["second", "fourth"], ["third"]]
    for name in ("second", "third", "fourth"):
        packs.leave(name)
    assert packs.at_work == []
    assert given(packs, [build(packs, trial(), "last")]) == [["last"]]


def test_it_begins_as_alone_and_draws_no_more() -> None:
    torch.manual_seed(3)
    alone = build_learner(trial(), DATA, Runtime(CPU))
    state = torch.get_rng_state()
    for _ in range(2):  # the first one is checked
        torch.manual_seed(3)
        member = Packs(2, print).build(trial(), DATA, Runtime(CPU))
        assert torch.equal(torch.get_rng_state(), state)
        torch.testing.assert_close(member.weights(), alone.weights(), rtol=0, atol=0)


def test_what_cannot_be_captured_is_said_once_and_still_trained() -> None:
    told: list[str] = []
    packs = Packs(1, told.append, TapeCapture)
    for config in (trial(accumulate=2), trial(accumulate=4), trial(mixup=0.2)):
        assert isinstance(packs.build(config, DATA, Runtime(CPU)), EagerLearner)
    rows = LoaderSplit(TensorDataset(*BATCHES[0]), torch.arange(8), None, device=CPU)
    loaded = replace(DATA, train=rows)
    assert isinstance(packs.build(trial(), loaded, Runtime(CPU)), EagerLearner)
    assert told == [
        f"run.lanes: computed without CUDA graphs: {reason}"
        for reason in (
            "train.accumulate: a graph makes an update of one batch",
            "augmentation and mixup draw for each batch by themselves",
            "batches are loaded one by one, or differ in their length",
        )
    ]


def test_a_network_of_ones_own_is_captured_unless_somebody_draws_for_it() -> None:
    told: list[str] = []
    name = f"{__name__}:own_network"
    packs, singles = Packs(2, told.append, TapeCapture), Packs(1, told.append, TapeCapture)
    assert packs.build(trial(name, {}), DATA, Runtime(CPU)).stride > 1
    assert told == []
    dropping = trial(name, {"dropout": 0.5})
    assert singles.build(dropping, DATA, Runtime(CPU)).stride > 1
    member = packs.build(dropping, DATA, Runtime(CPU))
    assert isinstance(member, Member)
    assert member.stride == 1
    assert told == [
        "run.pack: computed without CUDA graphs: model.architecture: dropouts of your own network "
        "are drawn for one trial at a time"
    ]


def test_recurrent_networks_are_captured_in_packs_of_one() -> None:
    told: list[str] = []
    packs = Packs(2, told.append, TapeCapture)
    data = in_float32(rows_of((4, 7)))
    config = trial("rnn", {"width": 4})
    members = [packs.build(config, data, Runtime(CPU), name=name) for name in ("a", "b")]
    for member in members:
        assert isinstance(member, Member)
        assert member.stride > 1
        member.train([next(data.train.batches(8))])
    assert [pack.names for pack in packs.at_work] == [["a"], ["b"]]
    assert len(told) == 1
    assert told[0].startswith("run.pack: trained one by one: vmap does not take it")


def test_who_is_trained_by_itself_is_said_once() -> None:
    told: list[str] = []
    packs = Packs(2, told.append)
    name = f"{__name__}:own_loss"
    for _ in range(2):
        assert isinstance(packs.build(trial(loss=name), DATA, Runtime(CPU)), EagerLearner)
    assert told == [
        f"run.pack: trained one by one: train.loss: {name} is not among those that are computed "
        "for several trials"
    ]


def test_who_leaves_while_memory_is_short_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(member: Member) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    packs = Packs(2, print)
    first, second = (build(packs, trial(), name) for name in ("first", "second"))
    given(packs, [first, second])
    packs.at_work[0].step()
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.training.packed.pack.release_rows", refuse)
        assert packs.leave("first") == Membership(pack=0, most=2)
    before = second.weights()
    assert given(packs, [second]) == [["second"]]
    packs.at_work[0].step()
    assert not torch.equal(second.weights()["1.weight"], before["1.weight"])


class Looked(TapeCapture):
    """A device that is at work until somebody has looked so often."""

    looks_left = 0.0

    @property
    def n_under_way(self) -> int:
        self.looks_left -= 1
        return 2 if self.looks_left > 0 else 0

    def wait(self) -> None:
        assert self.looks_left <= 0, "one is waited for, and another is done"


def test_whoever_is_done_first_is_waited_for() -> None:
    captures: list[Looked] = []

    def new_capture() -> Looked:
        captures.append(Looked())
        return captures[-1]

    packs = Packs(1, pytest.fail, new_capture)
    for name, looks in (("first", math.inf), ("second", 9.0), ("third", math.inf)):
        build(packs, trial(), name)
        captures[-1].looks_left = looks
    packs.wait()
    assert [pack.names for pack in packs.busy] == [["first"], ["third"]]


def test_who_is_done_just_before_the_wait_begins_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError("it waits for nobody")

    packs = Packs(1, pytest.fail, TapeCapture)
    build(packs, trial(), "first")
    monkeypatch.setattr("sweeper.training.packed.packs.time.sleep", sleep)
    packs.wait()


def test_a_pack_without_members_is_given_back() -> None:
    captures: weakref.WeakSet[TapeCapture] = weakref.WeakSet()

    def new_capture() -> TapeCapture:
        captures.add(made := TapeCapture())
        return made

    packs = Packs(2, pytest.fail, new_capture)
    build(packs, trial(), "first")
    assert captures
    packs.leave("first")
    assert not captures


@pytest.mark.parametrize("size", [1, 2])
def test_parameters_of_two_dtypes_stay_what_they_are(size: int) -> None:
    told: list[str] = []
    config = trial(f"{__name__}:TwoDtypes", {})
    learner = Packs(size, told.append, TapeCapture).build(config, DATA, Runtime(CPU))
    assert isinstance(learner, EagerLearner)
    [line] = told
    assert line.endswith(": its parameters are of several dtypes or devices")
