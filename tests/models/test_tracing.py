from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sweeper.models.tracing import tracing_by_shapes


class Outputs(nn.Module):
    """What a recurrent layer returns at each step."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, steps: Tensor) -> Tensor:
        outputs: Tensor = self.layer(steps)[0]
        return outputs


LAYERS = [
    nn.GRU(3, 4, batch_first=True),
    nn.GRU(3, 4, num_layers=2, bidirectional=True, dropout=0.5, batch_first=True),
    nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    nn.LSTM(3, 4, proj_size=2, bidirectional=True, batch_first=True),
    nn.RNN(3, 4, batch_first=True),
    nn.RNN(3, 4, nonlinearity="relu", bias=False, batch_first=True),
]


def export(module: nn.Module, others: Mapping[int, Any] = MappingProxyType({})) -> ExportedProgram:
    steps = torch.zeros(2, 7, 3)
    return torch.export.export(module, (steps,), dynamic_shapes=({0: Dim.AUTO, **others},))


def calls(program: ExportedProgram, layer: Any) -> int:
    return sum(layer in str(node.target) for node in program.graph.nodes)


@pytest.mark.filterwarnings("ignore:The tensor attributes", "ignore:LSTM with projections")
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_the_program_has_the_layer_as_one_operator_and_answers_as_it_does(
    layer: nn.Module,
) -> None:
    module = Outputs(layer).eval()
    with tracing_by_shapes():
        program = export(module)
    assert calls(program, type(layer).__name__.lower()) == 1
    steps = torch.randn(5, 7, 3)
    torch.testing.assert_close(program.module()(steps), module(steps))


def test_no_step_is_computed() -> None:
    module, length = Outputs(LAYERS[0]).eval(), {1: Dim.DYNAMIC}
    with tracing_by_shapes():
        export(module, length)
    with pytest.raises(Exception, match="specialized"):  # as torch goes through all steps
        export(module, length)


def test_afterwards_torch_traces_as_before() -> None:
    gru = torch.ops.aten.gru.input
    before = dict(gru.py_kernels)
    with pytest.raises(ValueError, match="of the body"), tracing_by_shapes():
        raise ValueError("of the body")
    assert gru.py_kernels == before
