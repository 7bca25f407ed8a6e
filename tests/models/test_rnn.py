import pytest
import torch
from torch import nn

from sweeper.models.rnn import Cell, Layer, build_rnn
from sweeper.models.sequence import Pool
from sweeper.trial import DataInfo, Tokens
from tests.support.models import n_parameters

TEXT = DataInfo("t", "0" * 16, (6,), 3, 9, 3, input_dtype="int64", tokens=Tokens(10))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_layer_reads_both_ways_as_torch_does_with_packed_sequences(cell: Cell) -> None:
    torch.manual_seed(0)
    layer = Layer(cell, 4, 3, bidirectional=True)
    ours = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](
        4, 3, batch_first=True, bidirectional=True
    )
    assert layer.backwards is not None
    for suffix, way in (("", layer.forwards), ("_reverse", layer.backwards)):
        for name, weight in way.named_parameters():
            getattr(ours, name + suffix).data.copy_(weight)
    lengths = torch.tensor([2, 5, 1])
    steps = torch.randn(3, 5, 4)
    packed = nn.utils.rnn.pack_padded_sequence(
        steps, lengths, batch_first=True, enforce_sorted=False
    )
    wanted, last = ours(packed)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(wanted, batch_first=True)
    last = last[0] if cell == "lstm" else last
    found, found_last = layer(steps, lengths)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(found[row, :n], wanted[row, :n], rtol=0, atol=1e-6)
    torch.testing.assert_close(found_last, torch.cat([*last], -1), rtol=0, atol=1e-6)


def test_each_layer_takes_what_the_one_before_it_finds() -> None:
    net = build_rnn(TEXT, 3, cell="gru", depth=2, width=5)
    gru = {n: 3 * 5 * (n + 5 + 2) for n in (5, 10)}
    assert n_parameters(net) == 10 * 5 + 2 * gru[5] + 2 * gru[10] + 10 * 3 + 3
    one_way = build_rnn(TEXT, 3, cell="gru", width=5, bidirectional=False)
    assert n_parameters(one_way) == 10 * 5 + gru[5] + 5 * 3 + 3


@pytest.mark.parametrize("pool", ["mean", "max", "last"])
def test_the_last_steps_are_those_of_each_way(pool: Pool) -> None:
    torch.manual_seed(0)
    net = build_rnn(TEXT, 3, width=5, pool=pool).eval()
    first, changed = torch.tensor([[2, 3, 4, 5]]), torch.tensor([[9, 3, 4, 5]])
    with torch.no_grad():
        assert not torch.equal(net(first), net(changed))
    one_way = build_rnn(TEXT, 3, width=5, pool="last", bidirectional=False).eval()
    features, lengths = one_way.get_submodule("first")(first)
    found, _ = one_way.get_submodule("layers.0.forwards")(features)
    torch.testing.assert_close(
        one_way(first), one_way.get_submodule("last")(found[:, -1]), rtol=0, atol=1e-6
    )
