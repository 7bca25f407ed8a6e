import subprocess
import sys

import pytest
import torch
from torch import nn

from sweeper.config.settings import ModelConfig
from sweeper.errors import TrainingError
from sweeper.models.build import build_for
from sweeper.training.optim import (
    add_l1_subgradient,
    build_optimizer,
    l1_penalty,
    parameter_groups,
    split_parameters,
)
from sweeper.training.own_optimizer import OwnOptimizer
from sweeper.trial import DataInfo

REFERENCES = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.9}),
}


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.BatchNorm1d(7), nn.Linear(7, 3))


def run_backward(model: nn.Module, step: int) -> None:
    inputs = torch.randn(16, 5, generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    model(inputs).square().mean().backward()


@pytest.mark.parametrize("name", REFERENCES)
def test_each_optimiser_updates_as_torch_optim_does(name: str) -> None:
    ours, theirs = small_net(), small_net()
    optimizer = build_optimizer(
        name, parameter_groups(ours, l2=0.01), momentum=0.9, nesterov=False
    )
    kind, settings = REFERENCES[name]
    weights, others = split_parameters(theirs)
    groups = [
        {"params": weights, "weight_decay": 0.01},
        {"params": others, "weight_decay": 0.0},
    ]
    reference = kind(groups, lr=0.1, **settings)
    for step in range(5):
        rate = 0.05 / (step + 1)
        run_backward(ours, step)
        run_backward(theirs, step)
        optimizer.step(rate)
        for group in reference.param_groups:
            group["lr"] = rate
        reference.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_nesterov_momentum_is_that_of_torch_optim() -> None:
    ours, theirs = small_net(), small_net()
    optimizer = build_optimizer("sgd", parameter_groups(ours, l2=0.0), momentum=0.9, nesterov=True)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for step in range(3):
        run_backward(ours, step)
        run_backward(theirs, step)
        optimizer.step(0.05)
        reference.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_two_updates_of_sgd_by_hand() -> None:
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.fill_(1.0)
    optimizer = build_optimizer(
        "sgd", parameter_groups(model, l2=0.1), momentum=0.5, nesterov=False
    )
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.tensor([[3.0]])).sum().backward()  # d/dw = 3, d/db = 1
        optimizer.step(0.1)
    # w: 2 - 0.1 * (3 + 0.1 * 2) = 1.68; momentum 0.5 * 3.2 + 3 + 0.1 * 1.68 = 4.768; w = 1.2032
    # b: 1 - 0.1 * 1 = 0.9; momentum 0.5 * 1 + 1 = 1.5; b = 0.75. No decay.
    torch.testing.assert_close(model.weight.item(), 1.2032, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.bias.item(), 0.75, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", REFERENCES)
def test_l2_pulls_on_weights_but_not_on_biases_and_norms(name: str) -> None:
    model = small_net()
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = build_optimizer(
        name, parameter_groups(model, l2=0.1), momentum=0.0, nesterov=False
    )
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.001)
    after = dict(model.named_parameters())
    for key in ("0.weight", "3.weight"):
        assert after[key].norm() < before[key].norm()
    for key in ("0.bias", "2.weight", "2.bias", "3.bias"):
        assert torch.equal(after[key], before[key])


@pytest.mark.parametrize("name", REFERENCES)
def test_a_parameter_without_gradient_stays_as_it_is(name: str) -> None:
    used, unused = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.ModuleDict({"used": used, "unused": unused})
    before = [parameter.detach().clone() for parameter in unused.parameters()]
    used_before = used.weight.detach().clone()
    optimizer = build_optimizer(
        name, parameter_groups(model, l2=0.1), momentum=0.9, nesterov=False
    )
    model["used"](torch.ones(1, 2)).sum().backward()
    optimizer.step(0.1)
    assert all(torch.equal(*pair) for pair in zip(before, unused.parameters(), strict=True))
    assert not torch.equal(used_before, used.weight)


def test_a_frozen_parameter_is_neither_updated_nor_penalised() -> None:
    model = small_net()
    model[0].requires_grad_(False)
    weights, others = split_parameters(model)
    assert [tuple(weight.shape) for weight in weights] == [(3, 7)]
    assert [tuple(other.shape) for other in others] == [(7,), (7,), (3,)]


def test_nesterov_without_momentum_is_refused_with_the_way_out() -> None:
    with pytest.raises(TrainingError, match="train.nesterov: needs train.momentum > 0"):
        build_optimizer("sgd", parameter_groups(small_net(), l2=0.0), momentum=0.0, nesterov=True)


def test_the_l1_subgradient_is_the_gradient_of_the_penalty() -> None:
    model = small_net()
    weights, _ = split_parameters(model)
    run_backward(model, 0)
    loss_gradients = [weight.grad.clone() for weight in weights]
    penalty = torch.stack([0.01 * weight.abs().sum() for weight in weights]).sum()
    expected = torch.autograd.grad(penalty, weights)
    add_l1_subgradient(weights, 0.01)
    for weight, plain, extra in zip(weights, loss_gradients, expected, strict=True):
        torch.testing.assert_close(weight.grad, plain + extra, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(l1_penalty(weights, 0.01), penalty.detach(), rtol=1e-6, atol=0)


def test_l1_by_hand_and_nothing_at_zero() -> None:
    parameter = nn.Parameter(torch.tensor([[-2.0, 0.0, 3.0]]))
    parameter.grad = torch.ones(1, 3)
    add_l1_subgradient([parameter, nn.Parameter(torch.ones(1, 1))], 0.5)
    assert parameter.grad.tolist() == [[0.5, 1.0, 1.5]]
    assert l1_penalty([parameter], 0.5).item() == 2.5
    assert l1_penalty([], 0.5).item() == 0.0


@pytest.mark.gate  # a process that imports torch anew
def test_an_update_does_not_import_the_compiler_front_end() -> None:
    script = (
        "import sys, torch\n"
        "from torch import nn\n"
        "from sweeper.training.optim import build_optimizer, parameter_groups\n"
        "model = nn.Linear(2, 2)\n"
        "groups = parameter_groups(model, l2=0.1)\n"
        "optimizer = build_optimizer('adamw', groups, momentum=0.9, nesterov=False)\n"
        "model(torch.ones(1, 2)).sum().backward()\n"
        "optimizer.step(0.1)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("is_own", [False, True])
def test_all_but_a_new_last_layer_may_have_a_rate_of_its_own(is_own: bool) -> None:
    data = DataInfo("pictures", "0" * 16, (3, 32, 32), 3, 9, 3)
    weights = {"weights": "DEFAULT"}  # that nobody loads here
    model = build_for(ModelConfig(architecture="shufflenet_v2_x0_5", params=weights), data)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    groups = parameter_groups(model, l2=0.5, backbone_rate=0.1)
    optimizer = (
        OwnOptimizer("torch.optim:SGD", groups, learning_rate=1.0)
        if is_own
        else build_optimizer("sgd", groups, momentum=0.0, nesterov=False)
    )
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0.01)
    for name, value in model.named_parameters():
        rate = 0.01 if name.startswith("net.fc.") else 0.001
        decay = 0.5 * before[name] if value.ndim > 1 else 0.0
        torch.testing.assert_close(value, before[name] - rate * (1 + decay), rtol=0, atol=1e-6)
