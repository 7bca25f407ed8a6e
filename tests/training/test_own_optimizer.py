"""Optimisers of the user's own, beside the same one driven by hand."""

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.errors import TrainingError
from sweeper.training.optim import parameter_groups, split_parameters
from sweeper.training.own_optimizer import OwnOptimizer

Groups = list[dict[str, Any]]


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.BatchNorm1d(7), nn.Linear(7, 3))


def run_backward(model: nn.Module, step: int) -> None:
    inputs = torch.randn(16, 5, generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    model(inputs).square().mean().backward()


def build(reference: str, model: nn.Module, *, l2: float = 0.0) -> OwnOptimizer:
    reference = reference if ":" in reference else f"{__name__}:{reference}"
    return OwnOptimizer(reference, parameter_groups(model, l2=l2), learning_rate=0.1)


def train(optimizer: OwnOptimizer, model: nn.Module, steps: range) -> None:
    for step in steps:
        run_backward(model, step)
        optimizer.step(0.1 / (step + 1))


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for own, others in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(own, others)


def test_a_class_of_torch_optim_updates_as_by_hand() -> None:
    ours, theirs = small_net(), small_net()
    optimizer = build("torch.optim:NAdam", ours, l2=0.01)
    train(optimizer, ours, range(3))
    weights, others = split_parameters(theirs)
    groups = [
        {"params": weights, "weight_decay": 0.01},
        {"params": others, "weight_decay": 0.0},
    ]
    reference = torch.optim.NAdam(groups, lr=0.1)
    for step in range(3):
        run_backward(theirs, step)
        for group in reference.param_groups:
            group["lr"] = 0.1 / (step + 1)
        reference.step()
    assert_same(ours, theirs)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in ours.parameters())


def slower_biases(groups: Groups, lr: float) -> torch.optim.Optimizer:
    weights, others = groups
    return torch.optim.SGD([weights, {**others, "lr": torch.tensor(lr / 10)}], lr=lr)


def test_a_group_keeps_the_ratio_of_its_rate() -> None:
    model = nn.Linear(1, 1)
    before = [parameter.item() for parameter in model.parameters()]
    optimizer = build("slower_biases", model)
    model(torch.ones(1, 1)).sum().backward()  # gradients of 1
    optimizer.step(0.05)
    moved = [old - new.item() for old, new in zip(before, model.parameters(), strict=True)]
    assert moved == pytest.approx([0.05, 0.005], abs=1e-6)


class Mean(torch.optim.Optimizer):
    """Goes along the mean of all gradients, which it keeps more precisely than the weights."""

    def __init__(self, groups: Groups, lr: float) -> None:
        super().__init__(groups, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state |= {"n": 0, "sum": torch.zeros_like(parameter, dtype=torch.float64)}
                state["n"] += 1
                state["sum"] += parameter.grad / 3
                parameter.data.sub_((group["lr"] * state["sum"] / state["n"]).float())


@pytest.mark.parametrize("reference", ["Mean", "torch.optim:Adagrad", "torch.optim:NAdam"])
def test_a_restored_optimiser_goes_on_bit_for_bit(reference: str) -> None:
    first, second = small_net(), small_net()
    optimizer = build(reference, first)
    train(optimizer, first, range(3))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    other = build(reference, second)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(optimizer, first, range(3, 6))
    train(other, second, range(3, 6))
    assert_same(first, second)


def first_alone(groups: Groups, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups[:1], lr=lr)


def nothing(groups: Groups, lr: float) -> None:
    return None


def positional(groups: Groups, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=rate)


@pytest.mark.parametrize(
    ("reference", "l2", "message"),
    [
        ("first_alone", 0.0, "train.optimizer: .*first_alone leaves out 4 of 6 tensors"),
        ("nothing", 0.0, "nothing must return a torch.optim.Optimizer, got NoneType"),
        ("positional", 0.0, "positional raised TypeError: .*unexpected keyword argument 'lr'"),
        ("torch.optim:LBFGS", 0.0, "LBFGS raised ValueError: LBFGS doesn't support per-param"),
        ("Mean", 0.1, "train.l2: Mean, which .*:Mean returns, has no weight_decay; leave l2 out"),
    ],
)
def test_what_cannot_train_all_parameters_is_refused(
    reference: str, l2: float, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        build(reference, small_net(), l2=l2)


class Forgetful(torch.optim.SGD):
    """Keeps what no checkpoint brings back."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        first = self.param_groups[0]["params"][0]
        self.state[first]["rule"] = Mean


class Failing(torch.optim.SGD):
    def step(self, closure: Callable[[], float]) -> float:  # type: ignore[override]
        return closure()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("Forgetful", r"Forgetful: its state_dict holds what a checkpoint cannot .* \(Unpickl"),
        ("Failing", r"Failing: step\(\) raised TypeError: .*missing 1 required .* 'closure'"),
    ],
)
def test_a_first_update_that_fails_is_told_with_its_place(reference: str, message: str) -> None:
    model = small_net()
    optimizer = build(reference, model)
    with pytest.raises(TrainingError, match=f"train.optimizer: {__name__}:{message}"):
        train(optimizer, model, range(1))


def test_a_decay_of_the_class_is_not_looked_at_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        optimizer = build("torch.optim:AdamW", small_net())
    assert [record.getMessage() for record in caplog.records] == [
        "train.optimizer: torch.optim:AdamW: weight_decay is 0 as train.l2 says, not 0.01 as "
        "AdamW has it"
    ]
    groups = optimizer.state_dict()["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.0, 0.0]
