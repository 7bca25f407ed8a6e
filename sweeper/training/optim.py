"""Optimisers and the L1 penalty.

The optimisers call torch's fused kernels without the classes of ``torch.optim``: making one of
those imports the compiler front end (0.85 s a process), and its ``step`` costs 0.1 ms of Python, a
fifth of the whole update of a small MLP. The numbers are those of ``torch.optim``, as tests show.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.models.pretrained import Pretrained

Tensors = tuple[Tensor, ...]
State = Sequence[Tensors]

#: torch's defaults: of adam, of adam and rmsprop, and of rmsprop.
BETAS, EPSILON, SMOOTHING = (0.9, 0.999), 1e-8, 0.99
#: A weight below which its sign shrinks to 0: a power of two, so that scaling by it is exact, far
#: below any weight that matters.
TINY = 2.0**-100


class UpdateRule(Protocol):
    """How gradients become new parameters.

    ``state`` holds one sequence per state tensor; ``rate`` is the learning rate, and ``decay`` the
    weight decay.
    """

    def new_state(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """The tensors that one parameter carries from update to update."""
        ...

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, *, rate: float, decay: float
    ) -> None:
        """Change parameters and state in place."""
        ...


@dataclass(frozen=True)
class Sgd:
    """Gradient descent with momentum, as ``torch.optim.SGD`` without dampening."""

    momentum: float
    nesterov: bool

    def new_state(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """The momentum, if there is any."""
        return (torch.zeros_like(parameter),) if self.momentum else ()

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, *, rate: float, decay: float
    ) -> None:
        """One fused call."""
        torch._fused_sgd_(
            parameters,
            gradients,
            state[0] if state else (),
            weight_decay=decay,
            momentum=self.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=False,  # a momentum of zeros gives the same first step
        )


@dataclass(frozen=True)
class Adam:
    """``torch.optim.Adam``, or ``AdamW`` with decoupled weight decay, at their defaults."""

    decoupled: bool

    def new_state(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """Both moments and the number of updates, which the kernel wants on the device."""
        steps = torch.zeros((), device=parameter.device)
        return torch.zeros_like(parameter), torch.zeros_like(parameter), steps

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, *, rate: float, decay: float
    ) -> None:
        """One fused call."""
        first, second, steps = state
        torch._foreach_add_(steps, 1)
        kernel = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
        kernel(
            parameters,
            gradients,
            first,
            second,
            (),
            steps,
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


@dataclass(frozen=True)
class RmsProp:
    """``torch.optim.RMSprop`` at its defaults, with momentum."""

    momentum: float

    def new_state(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """The mean square of the gradient and the momentum."""
        return torch.zeros_like(parameter), torch.zeros_like(parameter)

    def update(
        self, parameters: Tensors, gradients: Tensors, state: State, *, rate: float, decay: float
    ) -> None:
        """Foreach calls: torch has no fused kernel for it."""
        square, momentum = state
        if decay:
            gradients = torch._foreach_add(gradients, parameters, alpha=decay)
        torch._foreach_mul_(square, SMOOTHING)
        torch._foreach_addcmul_(square, gradients, gradients, value=0.01)
        root = torch._foreach_sqrt(square)
        torch._foreach_add_(root, EPSILON)
        torch._foreach_mul_(momentum, self.momentum)
        torch._foreach_addcdiv_(momentum, gradients, root)
        torch._foreach_add_(parameters, momentum, alpha=-rate)


@dataclass(frozen=True)
class Group:
    """Parameters that are updated alike.

    Attributes:
        parameters: To train.
        decay: Their weight decay, >= 0.
        rate: Factor of the learning rate, > 0.
    """

    parameters: Sequence[nn.Parameter]
    decay: float
    rate: float = 1.0


class Optimizer:
    """Groups of parameters under one update rule.

    Attributes:
        rule: Of all groups.
        decay: Weight decay of those that have one, else 0.
    """

    def __init__(self, groups: Sequence[Group], rule: UpdateRule) -> None:
        self.rule = rule
        self.decay = max((group.decay for group in groups), default=0.0)
        self._groups = [
            (group, [(parameter, *rule.new_state(parameter)) for parameter in group.parameters])
            for group in groups
        ]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient; the others stay as they are."""
        for group, entries in self._groups:
            live = [entry for entry in entries if entry[0].grad is not None]
            if live:
                parameters, *state = zip(*live, strict=True)
                gradients = tuple(parameter.grad for parameter in parameters)
                rate = learning_rate * group.rate
                self.rule.update(parameters, gradients, state, rate=rate, decay=group.decay)

    def zero_grad(self) -> None:
        """Drop all gradients, so that the next backward pass writes instead of adding."""
        for _, entries in self._groups:
            for parameter, *_ in entries:
                parameter.grad = None

    def states_of(self, parameters: Iterable[nn.Parameter]) -> list[tuple[Tensor, ...]]:
        """What each of them carries from update to update, the tensors themselves."""
        entries = chain.from_iterable(entries for _, entries in self._groups)
        states = {id(parameter): tuple(state) for parameter, *state in entries}
        return [states[id(parameter)] for parameter in parameters]

    def state_dict(self) -> dict[str, Any]:
        """The state tensors themselves, not copies."""
        return {"state": self._state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Copy the tensors of another :meth:`state_dict` of the same model and rule."""
        with torch.no_grad():
            for own, saved in zip(self._state(), state_dict["state"], strict=True):
                own.copy_(saved)

    def _state(self) -> list[Tensor]:
        entries = chain.from_iterable(entries for _, entries in self._groups)
        return [tensor for _, *state in entries for tensor in state]


def build_optimizer(
    name: str, groups: Sequence[Group], *, momentum: float, nesterov: bool
) -> Optimizer:
    """Build an optimiser of parameters, on the device they are on.

    Args:
        name: sgd, adam, adamw or rmsprop, each as in ``torch.optim``, whose defaults the other
            arguments replace.
        groups: As of :func:`parameter_groups`. Decay is added to the gradient as decay * w,
            except in adamw, which shrinks w by learning_rate * decay instead.
        momentum: Of sgd and rmsprop, in [0, 1); adam and adamw have their own.
        nesterov: Nesterov momentum, sgd only.

    Raises:
        TrainingError: If nesterov is asked for without momentum.
    """
    if name == "sgd" and nesterov and not momentum:
        raise TrainingError(
            "train.nesterov: needs train.momentum > 0, got momentum=0; "
            "set a momentum, or nesterov: false"
        )
    rules: dict[str, UpdateRule] = {
        "sgd": Sgd(momentum, nesterov),
        "adam": Adam(decoupled=False),
        "adamw": Adam(decoupled=True),
        "rmsprop": RmsProp(momentum),
    }
    return Optimizer(groups, rules[name])


def parameter_groups(model: nn.Module, *, l2: float, backbone_rate: float = 1.0) -> list[Group]:
    """The trainable parameters: weights decay, biases and norms do not.

    Args:
        model: To train.
        l2: Weight decay of the weights, >= 0.
        backbone_rate: Factor of the learning rate for all but the last layer of a
            :class:`~sweeper.models.pretrained.Pretrained`, > 0; others do not look at it.
    """
    weights, others = split_parameters(model)
    groups = [Group(weights, l2), Group(others, 0.0)]
    if backbone_rate == 1 or not isinstance(model, Pretrained):
        return groups
    last = {id(parameter) for parameter in model.last_layer.parameters()}
    return [
        Group([p for p in group.parameters if (id(p) in last) == is_last], group.decay, rate)
        for is_last, rate in ((True, 1.0), (False, backbone_rate))
        for group in groups
    ]


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters: weights (two axes or more), and biases and norms (fewer).

    L1 and L2 penalise the first alone.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]


@torch.no_grad()
def add_l1_subgradient(parameters: Iterable[nn.Parameter], l1: float) -> None:
    """Add ``l1 * sign(w)`` to the gradients: the penalty ``l1 * sum |w|``, at w = 0 taking 0.

    Below |w| = 2**-100 the sign shrinks to 0 in proportion.
    In the loss the penalty would nearly double the time of a small MLP's update.

    Args:
        parameters: Any shapes; those without a gradient are left alone.
        l1: Weight of the penalty, >= 0.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            # The sign times TINY: torch.sign takes a CPU longer.
            sign = parameter.clamp(-TINY, TINY)
            parameter.grad.add_(sign, alpha=l1 / TINY)


@torch.no_grad()
def l1_penalty(parameters: Iterable[nn.Parameter], l1: float) -> Tensor:
    """``l1 * sum |w|`` over all parameters, a tensor [] on their device; 0 without parameters."""
    return l1 * sum((parameter.abs().sum() for parameter in parameters), start=torch.zeros(()))
