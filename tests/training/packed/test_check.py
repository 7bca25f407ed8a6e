"""Which models can be computed for several trials at once; which cannot is seen, and why."""

import random
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.backends import cuda as backends
from torch.func import vmap

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.models.forms import Form
from sweeper.training.learner import Runtime
from sweeper.training.packed.check import unfit_reason
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.program import forward_context
from tests.support.architecture_samples import DATA, SMALL, TAKEN, samples
from tests.support.paired_trials import (
    CPU,
    N_ROWS,
    SIZES,
    Pair,
    data_of,
    evaluate_pairs,
    rows_of,
    train_pairs,
)


def reason(architecture: str, form: Form = "numbers") -> str | None:
    config = TrialConfig(
        params={},
        data=DataConfig(name="mine"),
        model=ModelConfig(architecture=architecture, params=SMALL.get(architecture, {})),
        train=TrainConfig(),
        seed=0,
    )
    rows = samples(form, N_ROWS)
    data = data_of(replace(DATA[form], n_train=N_ROWS), rows, torch.arange(N_ROWS) % 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that vmap goes over members one by one
        return unfit_reason(config, data, Runtime(CPU))


@pytest.mark.parametrize(("architecture", "form"), TAKEN)
def test_all_built_in_networks_are_packed_but_recurrent_ones(
    architecture: str, form: Form
) -> None:
    found = reason(architecture, form)
    if architecture == "rnn":
        assert found is not None
        assert found.startswith("vmap does not take it (RuntimeError: Batching rule not")
    else:
        assert found is None


@pytest.mark.parametrize(
    ("architecture", "form"), [(name, form) for name, form in TAKEN if name != "rnn"]
)
def test_a_packed_network_is_trained_as_alone(architecture: str, form: Form) -> None:
    rows = samples(form, N_ROWS)
    rows = rows.double() if rows.is_floating_point() else rows
    data, pack = data_of(DATA[form], rows, torch.arange(N_ROWS) % 3), Pack(print)
    model = ModelConfig(architecture=architecture, params=SMALL[architecture])
    pairs = [Pair(pack, data, model, {"l2": 0.1}, seed=seed) for seed in range(2)]
    train_pairs(pack, pairs, len(SIZES))
    evaluate_pairs(pack, pairs)
    for pair in pairs:
        pair.check()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_attention_of_members_is_computed_by_what_any_device_differentiates(device: str) -> None:
    """A GPU's own kernels keep what gradients need only of tensors that say they require one."""

    def requires_grad(of_member: Tensor) -> Tensor:
        return torch.tensor(of_member.requires_grad)

    weights = torch.ones(2, 1, requires_grad=True)
    assert not vmap(requires_grad, out_dims=None)(weights)  # else they could be used
    with forward_context(Runtime(torch.device(device))):
        assert backends.math_sdp_enabled()
        others = (
            backends.mem_efficient_sdp_enabled,
            backends.flash_sdp_enabled,
            backends.cudnn_sdp_enabled,
        )
        assert not any(is_enabled() for is_enabled in others)


class Branching(nn.Linear):
    """Looks at a number before it goes on."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs.flatten(1))
        return outputs if outputs.sum() > 0 else outputs / 2


class Noisy(nn.Linear):
    """Draws by another way than a module of dropout."""

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.flatten(1)
        return super().forward(inputs + torch.randn_like(inputs) * self.training)


class Projected(nn.Linear):
    """Each has a tensor of its own that is no buffer."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__(n_inputs, n_outputs)
        self.fixed = torch.randn(n_inputs, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.flatten(1) * self.fixed)


class Counting(nn.Linear):
    """Keeps what is no tensor."""

    calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(inputs.flatten(1))

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state


class Warming(nn.Linear):
    """Counts its batches, and goes by their number later."""

    n_seen = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.n_seen += self.training
        return super().forward(inputs.flatten(1)) * (1.0 if self.n_seen < 100 else 0.5)


class Singular(nn.Linear):
    """Goes another way where trials are computed than in double precision."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs.flatten(1))
        return outputs / outputs.abs().max().item() if outputs.dtype == torch.float32 else outputs


class Idle(nn.Linear):
    """Has a parameter that no output depends on."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__(n_inputs, n_outputs)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.flatten(1))


class Plain(nn.Module):
    """Takes nothing that vmap does not take, torch's own dropout included."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(n_inputs, 4), nn.ReLU(inplace=True)
        )
        self.last = nn.Linear(4, n_outputs)
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        self.get_buffer("steps").add_(self.training)
        outputs: Tensor = self.last(self.layers(inputs) + self.frozen)
        return outputs


def _builder(kind: Callable[[int, int], nn.Module]) -> Callable[..., nn.Module]:
    return lambda shape, n_outputs: kind(torch.Size(shape).numel(), n_outputs)


branching, noisy, projected, counting, warming, singular, idle, plain = map(
    _builder, (Branching, Noisy, Projected, Counting, Warming, Singular, Idle, Plain)
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "branching",
            "vmap does not take it (RuntimeError: vmap: It looks like you're attempting",
        ),
        ("noisy", "vmap does not take it (RuntimeError: vmap: called random operation while in"),
        ("projected", "for several trials at once its weight would be others"),
        ("counting", "it keeps _extra_state beside tensors"),
        ("warming", "its forward pass changes n_seen"),
        (
            "singular",
            "vmap does not take it (RuntimeError: vmap: It looks like you're calling .item()",
        ),
        ("idle", "no output depends on its unused"),
    ],
)
def test_a_model_of_ones_own_that_would_not_be_the_same_is_named(name: str, expected: str) -> None:
    found = reason(f"{__name__}:{name}")
    assert found is not None
    assert found.startswith(expected)


def test_a_model_of_ones_own_is_packed_and_trained_as_alone() -> None:
    assert reason(f"{__name__}:plain") is None
    pack = Pack(print)
    pairs = [Pair(pack, rows_of(), Plain(6, 3), {"ema": 0.9}, seed=seed) for seed in range(3)]
    for _ in range(5):
        for pair in pairs:
            pair.train()
        pack.step()
    for pair in pairs:
        pair.check()


def words(shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    """Looks at padding as at any other word, but never changes it."""
    embedding = nn.Embedding(20, 4, padding_idx=0)
    nn.init.ones_(embedding.weight)
    return nn.Sequential(embedding, nn.Flatten(), nn.Linear(4 * shape[0], n_outputs))


def test_what_stands_for_padding_stays_as_it_is_in_every_member() -> None:
    assert reason(f"{__name__}:words", "text") is None
    rows, pack = samples("text", N_ROWS), Pack(print)
    data = data_of(DATA["text"], rows, torch.arange(N_ROWS) % 3)
    pairs = [Pair(pack, data, words((9,), 3), seed=seed) for seed in range(3)]
    for pair in pairs:
        pair.train()
    pack.step()
    for pair in pairs:
        pair.check()
        first = pair.member.weights()["0.weight"][0]
        torch.testing.assert_close(first, torch.ones(4, dtype=torch.float64), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["mlp", "rnn"])
def test_random_generators_stay_as_they_are(architecture: str) -> None:
    def draw() -> list[float]:
        return [random.random(), float(np.random.rand()), torch.rand(()).item()]

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    reason(architecture)
    found = draw()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert found == draw()
