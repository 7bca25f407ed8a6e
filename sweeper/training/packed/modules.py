"""What a program for all members has in place of modules that are not alike in all of them."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.models.activation import ACTIVATIONS
from sweeper.models.dropout import Dropout

_ACTIVATIONS = tuple(ACTIVATIONS.values())
#: Those whose output is their input times what they drew.
_DROPOUTS = (Dropout, nn.Dropout)
#: The activations of members that have the same ones, and how many of them follow each other.
Segment = tuple[Sequence[nn.Module], int]


class Given:
    """What one call of a program is given beside parameters, buffers and inputs.

    Attributes:
        masks: Of the dropouts, in the order in which they are called, each [B, ...].
        segments: Of all members, in their order.
    """

    def __init__(self) -> None:
        self.masks: Iterator[Tensor] = iter(())
        self.segments: Sequence[Segment] = ()


def dropouts_of(model: nn.Module) -> list[nn.Module]:
    """The modules that draw, each once."""
    return [module for module in model.modules() if type(module) in _DROPOUTS]


def activations_of(model: nn.Module) -> list[nn.Module]:
    """The modules that may be others in other members, each once."""
    return [module for module in model.modules() if type(module) in _ACTIVATIONS]


def template_of(model: nn.Module, given: Given) -> nn.Module:
    """A copy of a model without tensors of its own, that takes what is ``given``.

    Args:
        model: Of any member.
        given: Read in each call.
    """
    template = copy.deepcopy(model).to("meta")
    places = {id(module): place for place, module in enumerate(activations_of(template))}
    replaced: dict[int, nn.Module] = {}
    for parent in list(template.modules()):
        for name, child in parent._modules.items():
            if child is None:
                continue
            if id(child) not in replaced:
                replaced[id(child)] = _replacement(child, given, places)
            parent._modules[name] = replaced[id(child)]
    return template


def _replacement(module: nn.Module, given: Given, places: dict[int, int]) -> nn.Module:
    if type(module) in _DROPOUTS:
        return _HandedMask(given)
    if id(module) in places:
        return _Activation(given, places[id(module)])
    if isinstance(module, nn.Embedding) and module.padding_idx is not None and _is_plain(module):
        return _Embedding(module)
    if isinstance(module, nn.EmbeddingBag) and module.mode == "mean" and _is_plain(module):
        return _EmbeddingBag(module)
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size == 1:
        return _Mean()
    return module


def _is_plain(module: nn.Embedding | nn.EmbeddingBag) -> bool:
    """Whether it looks vectors up, and does no more."""
    is_own = type(module) not in (nn.Embedding, nn.EmbeddingBag)
    return not (is_own or module.max_norm or module.sparse or module.scale_grad_by_freq)


class _HandedMask(nn.Module):
    def __init__(self, given: Given) -> None:
        super().__init__()
        self._given = given

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * next(self._given.masks) if self.training else inputs


class _Activation(nn.Module):
    def __init__(self, given: Given, place: int) -> None:
        super().__init__()
        self._given = given
        self._place = place

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [(modules[self._place], size) for modules, size in self._given.segments]
        (first, _), *others = parts
        outputs: Tensor = _BySegment.apply(inputs, parts) if others else first(inputs)
        return outputs


class _OfMembers(torch.autograd.Function):
    """What is computed below ``vmap`` alone, by a rule of its own.

    What the rule computes is differentiated as any other code is, so there is no rule for
    gradients.
    """

    @staticmethod
    def forward(*_: Any) -> Tensor:
        """Never called."""
        raise AssertionError("a program is called for members alone")

    @staticmethod
    def setup_context(*_: Any) -> None:
        """Nothing is kept."""


class _BySegment(_OfMembers):
    """Inputs [K, ...] by another function for each stretch of members."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        inputs: Tensor,
        parts: Sequence[tuple[nn.Module, int]],
    ) -> tuple[Tensor, int]:
        """See ``torch.autograd.Function``."""
        dim = in_dims[0]
        assert dim is not None
        rows = torch.split(inputs.movedim(dim, 0), [size for _, size in parts])
        return torch.cat([f(each) for (f, _), each in zip(parts, rows, strict=True)]), 0


class _Mean(nn.Module):
    """As ``nn.AdaptiveAvgPool2d(1)``, which of channels last is a loop over members."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1), keepdim=True)


class _Embedding(nn.Module):
    """As ``nn.Embedding``, whose ``padding_idx`` vmap heeds in the first member alone."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight = embedding.weight
        assert embedding.padding_idx is not None
        self._padding = embedding.padding_idx

    def forward(self, ids: Tensor) -> Tensor:
        features = F.embedding(ids, self.weight)
        is_padding = torch.eq(ids, self._padding)[..., None]
        return torch.where(is_padding, features.detach(), features)


class _EmbeddingBag(nn.Module):
    """As ``nn.EmbeddingBag``, for which vmap has no rule."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight = bag.weight
        self._padding = bag.padding_idx

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = _BagOfMembers.apply(ids, self.weight, self._padding)
        return found


class _BagOfMembers(_OfMembers):
    """One look-up in the words of all members, [K, B, L] in [K, n_words, width]."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        ids: Tensor,
        weights: Tensor,
        padding: int | None,
    ) -> tuple[Tensor, int]:
        """See ``torch.autograd.Function``."""
        assert in_dims[:2] == (0, 0)
        n_members, n_words, width = weights.shape
        first = torch.arange(n_members, device=ids.device)[:, None, None] * n_words
        places = ids + first
        if padding is not None:  # that of the first member is that of all
            places = torch.where(ids == padding, padding, places)
        means = F.embedding_bag(
            places.flatten(0, 1),
            weights.reshape(n_members * n_words, width),
            mode="mean",
            padding_idx=padding,
        )
        return means.view(n_members, -1, width), 0
