import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.config.settings import Precision
from sweeper.errors import TrainingError
from sweeper.models.cnn import build_cnn
from sweeper.models.mlp import build_mlp
from sweeper.training.augmentation import Augment
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.training.losses import CrossEntropy
from sweeper.training.metrics import ClassificationMetrics
from sweeper.training.optim import build_optimizer, parameter_groups, split_parameters
from sweeper.training.schedules import Schedule
from tests.support.models import evaluate

CPU = torch.device("cpu")
CONSTANT = Schedule("constant", peak=0.1, total_steps=100)
Batches = list[tuple[Tensor, Tensor]]


def build_learner(
    model: nn.Module,
    *,
    schedule: Schedule = CONSTANT,
    precision: Precision = "fp32",
    augment: Augment | None = None,
    l1: float = 0.0,
    clip_grad_norm: float | None = None,
    accumulate: int = 1,
    ema: float = 0.0,
) -> EagerLearner:
    optimizer = build_optimizer(
        "sgd", parameter_groups(model, l2=0.0), momentum=0.0, nesterov=False
    )
    return EagerLearner(
        model,
        optimizer,
        loss=CrossEntropy(None, smoothing=0.0),
        metrics=lambda: ClassificationMetrics(3),
        schedule=schedule,
        runtime=Runtime(CPU, precision),
        augment=augment,
        l1=l1,
        clip_grad_norm=clip_grad_norm,
        accumulate=accumulate,
        ema=ema,
    )


def blobs(n_rows: int, shape: tuple[int, ...] = (6,), batch_size: int = 8) -> Batches:
    """Three classes around three points, with a shorter last batch."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(n_rows) % 3
    centres = torch.randn(3, *shape, generator=generator)
    inputs = centres[targets] + 0.3 * torch.randn(n_rows, *shape, generator=generator)
    return list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))


def two_class_model() -> nn.Linear:
    model = nn.Linear(1, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0], [0.0]]))
        model.bias.zero_()
    return model


def test_one_update_of_a_tiny_model_by_hand() -> None:
    model = two_class_model()
    loss = train_epoch(build_learner(model), [(torch.tensor([[2.0]]), torch.tensor([0]))])
    # Probabilities 1/2, 1/2: loss ln 2, d/dlogits = (-1/2, 1/2), d/dw = 2 * that, rate 0.1.
    assert loss == pytest.approx(0.693147, abs=1e-6)
    torch.testing.assert_close(model.weight, torch.tensor([[0.1], [-0.1]]), rtol=0, atol=1e-7)
    torch.testing.assert_close(model.bias, torch.tensor([0.05, -0.05]), rtol=0, atol=1e-7)


def test_the_training_loss_is_a_mean_over_samples_not_over_batches() -> None:
    model = two_class_model()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0], [0.0]]))
    frozen = Schedule("constant", peak=1e-30, total_steps=2)
    right = torch.tensor([[5.0], [5.0], [5.0]]), torch.tensor([0, 0, 0])
    wrong = torch.tensor([[5.0]]), torch.tensor([1])
    # ln(1 + e^-5) = 0.006715 three times and ln(1 + e^5) = 5.006715 once
    expected = (3 * 0.006715 + 5.006715) / 4
    learner = build_learner(model, schedule=frozen)
    assert train_epoch(learner, [right, wrong]) == pytest.approx(expected, abs=1e-5)
    assert evaluate(learner, [right, wrong]) == (
        pytest.approx(expected, abs=1e-5),
        {"val_accuracy": 0.75, "val_f1": pytest.approx(3 / 7)},
    )


def test_evaluating_equals_a_plain_loop_over_samples() -> None:
    torch.manual_seed(0)
    batches = blobs(29)
    model = build_mlp((6,), 3, dropout=0.5, batch_norm=True)
    learner = build_learner(model)
    train_epoch(learner, batches)
    loss, measured = evaluate(learner, batches)
    model.eval()
    losses, hits = [], []
    for inputs, targets in batches:
        for sample, target in zip(inputs, targets, strict=True):
            logits = model(sample[None])[0]
            losses.append((logits.logsumexp(0) - logits[target]).item())
            hits.append(logits.argmax().item() == target.item())
    assert loss == pytest.approx(sum(losses) / 29, abs=1e-5)
    assert measured["val_accuracy"] == sum(hits) / 29


def test_training_rows_are_augmented_and_validation_rows_are_not() -> None:
    rows = [(torch.tensor([[2.0]]), torch.tensor([0]))]
    model = two_class_model()
    learner = build_learner(model, augment=lambda inputs, targets: (inputs + 1, 1 - targets))
    train_epoch(learner, rows)
    # Probabilities 1/2, 1/2: d/dw = 3 * (1/2, -1/2) for class 1, rate 0.1.
    torch.testing.assert_close(model.weight, torch.tensor([[-0.15], [0.15]]), rtol=0, atol=1e-7)
    loss, measured = evaluate(learner, rows)
    # Logits -0.35 and 0.35: ln(1 + e^0.7) for class 0.
    assert loss == pytest.approx(1.103186, abs=1e-6)
    assert measured["val_accuracy"] == 0


def test_l1_goes_into_the_gradient_and_the_training_loss_but_not_the_validation_loss() -> None:
    torch.manual_seed(0)
    model = build_mlp((6,), 3, depth=1, width=4)
    reference = copy.deepcopy(model)
    [(inputs, targets)] = blobs(8)
    learner = build_learner(model, l1=0.02)
    loss = train_epoch(learner, [(inputs, targets)])

    weights, _ = split_parameters(reference)
    entropy = F.cross_entropy(reference(inputs), targets)
    (entropy + 0.02 * sum(weight.abs().sum() for weight in weights)).backward()
    for own, other in zip(model.parameters(), reference.parameters(), strict=True):
        assert other.grad is not None
        torch.testing.assert_close(own, other - 0.1 * other.grad, rtol=1e-5, atol=1e-7)
    after, _ = split_parameters(model)
    penalty = 0.02 * sum(weight.abs().sum().item() for weight in after)
    assert loss == pytest.approx(entropy.item() + penalty, abs=1e-5)
    plain = F.cross_entropy(model(inputs), targets).item()
    assert evaluate(learner, [(inputs, targets)])[0] == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize(("largest", "length"), [(0.01, 0.001), (1e6, None)])
def test_a_long_gradient_is_clipped_and_a_short_one_is_not(
    largest: float, length: float | None
) -> None:
    model = two_class_model()
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    learner = build_learner(model, clip_grad_norm=largest)
    train_epoch(learner, [(torch.tensor([[2.0]]), torch.tensor([0]))])
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    # Unclipped: weights move by 0.1 each, biases by 0.05 each. Clipped: rate 0.1 times the limit.
    expected = length or (2 * 0.1**2 + 2 * 0.05**2) ** 0.5
    assert (after - before).norm().item() == pytest.approx(expected, rel=1e-3)


def test_the_learning_rate_follows_the_schedule_over_all_epochs() -> None:
    schedule = Schedule("step", peak=1e-3, total_steps=6, drop_steps=2, drop_factor=0.5)
    learner = build_learner(build_mlp((6,), 3), schedule=schedule)
    assert learner.learning_rate == 1e-3
    rates = []
    for _ in range(2):
        train_epoch(learner, blobs(20))
        rates.append(learner.learning_rate)
    assert rates == [5e-4, 2.5e-4]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_learner_learns(precision: Precision) -> None:
    torch.manual_seed(0)
    learner = build_learner(build_cnn((1, 8, 8), 3, channels=4), precision=precision)
    batches = blobs(60, shape=(1, 8, 8))
    losses = [train_epoch(learner, batches) for _ in range(8)]
    assert losses[-1] < 0.1 * losses[0]
    assert evaluate(learner, batches)[1]["val_accuracy"] == 1.0


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_fp32() -> None:
    seen: list[torch.dtype] = []
    torch.manual_seed(0)
    model = build_mlp((6,), 3)
    assert isinstance(model, nn.Sequential)
    model[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    train_epoch(build_learner(model, precision="bf16"), blobs(8))
    assert seen == [torch.bfloat16]
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model[1].weight.grad.dtype == torch.float32


class Counting(nn.Linear):
    """Keeps beside its tensors what torch lets a module keep."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        self.counts: dict[str, Any] = {"batches": 0, "mean": torch.zeros(6)}

    def forward(self, inputs: Tensor) -> Tensor:
        self.counts["batches"] += self.training
        self.counts["mean"] += inputs.mean(0)
        return super().forward(inputs)

    def get_extra_state(self) -> dict[str, Any]:
        return self.counts

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.counts = state


def test_weights_hold_a_copy_of_whatever_a_module_keeps() -> None:
    learner = build_learner(Counting())
    train_epoch(learner, blobs(16))
    kept = learner.weights()["_extra_state"]
    mean = kept["mean"].clone()
    train_epoch(learner, blobs(16))
    assert kept["batches"] == 2
    assert torch.equal(kept["mean"], mean)


class Auxiliary(nn.Linear):
    """As GoogLeNet: returns more while it trains."""

    def forward(self, inputs: Tensor) -> Any:
        logits = super().forward(inputs)
        return (logits, logits) if self.training else logits


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_that_returns_more_while_it_trains_is_named(precision: Precision) -> None:
    learner = build_learner(Auxiliary(6, 3), precision=precision)
    with pytest.raises(TrainingError, match="Auxiliary must return .*, got tuple while training"):
        train_epoch(learner, blobs(8))
    evaluate(learner, blobs(8))


def test_accumulated_batches_make_the_update_of_a_larger_batch() -> None:
    torch.manual_seed(0)
    small, large = build_mlp((6,), 3, width=8), build_mlp((6,), 3, width=8)
    large.load_state_dict(small.state_dict())
    step = Schedule("step", peak=0.5, total_steps=6, drop_steps=2, drop_factor=0.5)
    rules: dict[str, Any] = {"schedule": step, "l1": 0.01, "clip_grad_norm": 0.5}
    first = build_learner(small, accumulate=3, **rules)
    second = build_learner(large, **rules)
    # Groups of 24, 24 and, at the end, 8 + 3 rows; an epoch is three updates in both.
    for _ in range(2):
        loss = train_epoch(first, blobs(59, batch_size=8))
        assert loss == pytest.approx(train_epoch(second, blobs(59, batch_size=24)), rel=1e-5)
        assert first.learning_rate == second.learning_rate
    for own, other in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_the_average_is_evaluated_and_kept_and_the_weights_are_trained_on() -> None:
    torch.manual_seed(0)
    batches = blobs(29)
    plain, averaged = build_mlp((6,), 3, batch_norm=True), build_mlp((6,), 3, batch_norm=True)
    averaged.load_state_dict(plain.state_dict())
    first, second = build_learner(plain), build_learner(averaged, ema=0.2)
    expected = copy.deepcopy(first.weights())
    for n, batch in enumerate(batches, start=1):
        assert train_epoch(first, [batch]) == train_epoch(second, [batch])
        decay = min(0.2, (1 + n) / (10 + n))  # 2 / 11 at the first update, then 0.2
        for name, value in first.weights().items():
            mean = decay * expected[name] + (1 - decay) * value
            expected[name] = mean if value.is_floating_point() else value
    measured = evaluate(second, batches)
    for name, value in second.weights().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), averaged.parameters(), strict=True)
    )
    third = build_learner(build_mlp((6,), 3, batch_norm=True))
    third.model.load_state_dict(second.weights())
    assert measured == evaluate(third, batches)
    assert measured != evaluate(first, batches)
