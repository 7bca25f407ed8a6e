from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from sweeper.data.batches import LoaderSplit, ResidentSplit, Split
from sweeper.data.order import Shuffle
from sweeper.data.scale import Normalisation

CPU = torch.device("cpu")
INPUTS = torch.arange(7 * 2 * 2 * 1, dtype=torch.uint8).view(7, 2, 2, 1) * 9
TARGETS = torch.arange(7)
ROWS = torch.tensor([0, 1, 2, 4, 6])


class FloatDataset(Dataset[tuple[Tensor, int]]):
    """The same rows, made one by one."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return INPUTS[row].double(), int(TARGETS[row])


def resident(rows: Tensor = ROWS) -> Split:
    return ResidentSplit(INPUTS.float(), TARGETS, rows, None)


def tensor_loader(rows: Tensor = ROWS) -> Split:
    return LoaderSplit(TensorDataset(INPUTS.float(), TARGETS), rows, None, device=CPU)


def dataset_loader(rows: Tensor = ROWS) -> Split:
    return LoaderSplit(FloatDataset(), rows, None, device=CPU)


MakeSplit = Callable[..., Split]
every_split = pytest.mark.parametrize("split", [resident, tensor_loader, dataset_loader])


@every_split
def test_all_rows_come_in_order_unless_shuffled(split: MakeSplit) -> None:
    batches = list(split().batches(2))
    assert [targets.tolist() for _, targets in batches] == [[0, 1], [2, 4], [6]]
    for inputs, targets in batches:
        assert inputs.dtype == torch.float32
        assert targets.dtype == torch.int64
        assert torch.equal(inputs, INPUTS[targets].float())
    assert split().n_rows == 5


@every_split
def test_rows_are_shuffled_by_one_permutation(split: MakeSplit) -> None:
    order = ROWS[torch.randperm(5, generator=torch.Generator().manual_seed(11))]
    shuffle = Shuffle(11)
    first = [targets for _, targets in split().batches(3, shuffle=shuffle)]
    assert torch.equal(torch.cat(first), order)
    second = torch.cat([targets for _, targets in split().batches(3, shuffle=shuffle)])
    again = torch.Generator().manual_seed(11)
    torch.randperm(5, generator=again)
    assert torch.equal(second, ROWS[torch.randperm(5, generator=again)])


@every_split
@pytest.mark.parametrize("skip", [0, 1, 2, 3])
@pytest.mark.parametrize("shuffled", [True, False])
def test_skipped_batches_change_nothing_else(split: MakeSplit, shuffled: bool, skip: int) -> None:
    whole, cut = (Shuffle(11) if shuffled else None for _ in range(2))
    expected = [targets.tolist() for _, targets in split().batches(2, shuffle=whole)][skip:]
    batches = split().batches(2, shuffle=cut, skip=skip)
    assert [targets.tolist() for _, targets in batches] == expected
    if whole is not None and cut is not None:
        assert torch.equal(whole.state, cut.state)


def test_skipped_batches_are_not_loaded() -> None:
    loaded = []

    class Noting(FloatDataset):
        def __getitem__(self, row: int) -> tuple[Tensor, int]:
            loaded.append(row)
            return super().__getitem__(row)

    split = LoaderSplit(Noting(), ROWS, None, device=CPU)
    list(split.batches(2, skip=1))
    assert loaded == [2, 4, 6]


@every_split
@pytest.mark.parametrize(
    ("n_rows", "batch_size", "sizes"),
    [(5, 2, [2, 2]), (5, 3, [3, 2]), (5, 5, [5]), (3, 1, [1, 1, 1]), (1, 4, [1])],
)
def test_a_last_single_row_is_dropped_when_shuffling_alone(
    split: MakeSplit, n_rows: int, batch_size: int, sizes: list[int]
) -> None:
    part = split(ROWS[:n_rows])
    shuffled = part.batches(batch_size, shuffle=Shuffle(0))
    assert [len(targets) for _, targets in shuffled] == sizes
    assert sum(len(targets) for _, targets in part.batches(batch_size)) == n_rows


@every_split
def test_the_global_generator_is_left_alone(split: MakeSplit) -> None:
    state = torch.get_rng_state()
    list(split().batches(2, shuffle=Shuffle(0)))
    list(split().batches(2))
    assert torch.equal(torch.get_rng_state(), state)


#: Of 70 rows from 1 to 7, none the length of its neighbour.
LENGTHS = torch.arange(70) * 3 % 7 + 1
#: Each row its own number, as often as it is long.
IDS = torch.where(torch.arange(7) < LENGTHS[:, None], torch.arange(1, 71)[:, None], 0).int()


def sorted_split(rows: Tensor, *, is_resident: bool) -> Split:
    targets, lengths = torch.arange(70), LENGTHS[rows]
    if is_resident:
        return ResidentSplit(IDS, targets, rows, Tensor.long, lengths)
    dataset = TensorDataset(IDS, targets)
    return LoaderSplit(dataset, rows, Tensor.long, device=CPU, lengths=lengths)


every_sorted_split = pytest.mark.parametrize("is_resident", [True, False])


@every_sorted_split
def test_each_batch_is_as_long_as_its_longest(is_resident: bool) -> None:
    split = sorted_split(torch.arange(3, 70), is_resident=is_resident)
    for shuffle in (None, Shuffle(11)):
        seen = []
        for inputs, targets in split.batches(4, shuffle=shuffle):
            assert inputs.dtype == torch.int64
            assert inputs.shape[1] == LENGTHS[targets].max()
            assert torch.equal(inputs, IDS[targets, : inputs.shape[1]].long())
            seen += targets.tolist()
        assert sorted(seen) == list(range(3, 70))


@every_sorted_split
def test_rows_that_are_not_shuffled_are_sorted_by_length(is_resident: bool) -> None:
    split = sorted_split(torch.arange(3, 70), is_resident=is_resident)
    rows = torch.cat([targets for _, targets in split.batches(4)])
    assert rows.tolist() == sorted(range(3, 70), key=lambda row: int(LENGTHS[row]))


@every_sorted_split
def test_shuffled_rows_are_sorted_within_windows_and_their_batches_shuffled(
    is_resident: bool,
) -> None:
    split = sorted_split(torch.arange(70), is_resident=is_resident)
    shuffle = Shuffle(11)
    batches = [targets.tolist() for _, targets in split.batches(2, shuffle=shuffle)]
    drawn = torch.Generator().manual_seed(11)
    order = torch.randperm(70, generator=drawn).tolist()
    # Of 35 batches of two the first 32 make a window.
    windows = [
        sorted(part, key=lambda row: int(LENGTHS[row])) for part in (order[:64], order[64:])
    ]
    rows = [row for window in windows for row in window]
    chunks = [rows[first : first + 2] for first in range(0, 70, 2)]
    assert batches == [chunks[place] for place in torch.randperm(35, generator=drawn).tolist()]
    assert torch.equal(shuffle.state, drawn.get_state())


@every_sorted_split
@pytest.mark.parametrize("skip", [0, 1, 5, 18])
def test_skipped_batches_of_sorted_rows_change_nothing_else(is_resident: bool, skip: int) -> None:
    split = sorted_split(torch.arange(70), is_resident=is_resident)
    for draws in (False, True):
        whole, cut = (Shuffle(11) if draws else None for _ in range(2))
        expected = [targets.tolist() for _, targets in split.batches(4, shuffle=whole)][skip:]
        batches = split.batches(4, shuffle=cut, skip=skip)
        assert [targets.tolist() for _, targets in batches] == expected


@every_sorted_split
def test_the_row_that_is_dropped_is_not_the_longest(is_resident: bool) -> None:
    split = sorted_split(torch.arange(9), is_resident=is_resident)
    shuffle = Shuffle(11)
    seen = {row for _, targets in split.batches(4, shuffle=shuffle) for row in targets.tolist()}
    last = int(torch.randperm(9, generator=torch.Generator().manual_seed(11))[-1])
    assert seen == set(range(9)) - {last}


def normalisation() -> Normalisation:
    return Normalisation((0.2, 0.4), (0.1, 0.5), input_shape=(2, 2, 1), device=CPU)


@pytest.mark.parametrize(
    "split",
    [
        ResidentSplit(INPUTS, TARGETS, ROWS, normalisation()),
        LoaderSplit(TensorDataset(INPUTS, TARGETS), ROWS, normalisation(), device=CPU),
    ],
)
def test_uint8_is_normalised_per_channel(split: Split) -> None:
    before = INPUTS.clone()
    ((inputs, _),) = split.batches(5)
    assert inputs.dtype == torch.float32
    # Row 1 holds 36, 45 in channel 0 and 54, 63 in channel 1: (36 / 255 - 0.2) / 0.1 = -0.588235.
    wanted = torch.tensor([[[-0.588235], [-0.235294]], [[-0.376471], [-0.305882]]])
    torch.testing.assert_close(inputs[1], wanted, rtol=0, atol=1e-5)
    assert torch.equal(INPUTS, before)


def test_inputs_without_channels_are_normalised_as_one() -> None:
    inputs = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8)
    normalise = Normalisation((0.2,), (0.4,), input_shape=(2,), device=CPU)
    wanted = torch.tensor([[-0.5, 0.0], [0.5, 2.0]])
    torch.testing.assert_close(normalise(inputs), wanted, rtol=0, atol=1e-6)


def test_other_dtypes_are_passed_on() -> None:
    tokens = torch.tensor([[3, 1], [2, 7]])
    ((inputs, _),) = ResidentSplit(tokens, TARGETS[:2], torch.arange(2), None).batches(2)
    assert torch.equal(inputs, tokens)
    assert inputs.dtype == torch.int64
