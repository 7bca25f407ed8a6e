"""Recurrent layers as ``torch.export`` sees them: one operator, whatever the length."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


@contextmanager
def tracing_by_shapes() -> Iterator[None]:
    """Let a recurrent layer be traced by the shapes of what it takes and returns.

    It is one operator of the exported program either way. But to learn those shapes torch
    computes the layer step by step, with tensors that hold nothing: 13 s of a core for a GRU of
    two ways over 120 steps, 0.3 s with this (torch 2.15). For one thread at a time, and nothing
    else is to be traced meanwhile.
    """
    kept = {operator: dict(operator.py_kernels) for operator in _SHAPES}
    for operator, shapes in _SHAPES.items():
        _replace(operator, dict.fromkeys(kept[operator], shapes))
    try:
        yield
    finally:
        for operator, kernels in kept.items():
            _replace(operator, kernels)


def _replace(operator: Any, kernels: Mapping[Any, Callable[..., Any]]) -> None:
    operator.py_kernels.clear()
    operator.py_kernels.update(kernels)
    operator._dispatch_cache.clear()


def _one_state(steps: Tensor, state: Tensor, params: Any, *others: Any) -> tuple[Tensor, Tensor]:
    """Of a GRU or a plain recurrent layer; the others are those of ``torch.ops.aten.gru``."""
    return _outputs(steps, state, others), torch.empty_like(state)


def _two_states(steps: Tensor, states: Any, params: Any, *others: Any) -> tuple[Tensor, ...]:
    """Of an LSTM, whose outputs are as wide as the first of its states."""
    return _outputs(steps, states[0], others), *map(torch.empty_like, states)


def _outputs(steps: Tensor, state: Tensor, others: tuple[Any, ...]) -> Tensor:
    _, _, _, _, is_bidirectional, _ = others
    return steps.new_empty((*steps.shape[:-1], state.shape[-1] * (1 + is_bidirectional)))


#: What stands for each operator.
_SHAPES: Mapping[Any, Callable[..., tuple[Tensor, ...]]] = {
    _aten.gru.input: _one_state,
    _aten.lstm.input: _two_states,
    _aten.rnn_tanh.input: _one_state,
    _aten.rnn_relu.input: _one_state,
}
