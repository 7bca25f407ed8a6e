"""A pass in parts: what is loaded, what is left, and what is seeded."""

import torch

from sweeper.data.batches import ResidentSplit
from sweeper.data.order import Shuffle
from sweeper.timing import TimeLedger
from sweeper.training.seed import BatchSeeds
from sweeper.training.stretch import Stretch, stretches

N_ROWS, SIZE = 21, 4
ROWS = torch.arange(N_ROWS)
SPLIT = ResidentSplit(ROWS.float(), ROWS, ROWS, None)


def test_all_batches_come_once_in_their_order() -> None:
    batches = SPLIT.batches(SIZE, shuffle=Shuffle(3))
    seen: list[torch.Tensor] = []
    for stretch in stretches(batches, lambda: 4, ledger=TimeLedger(), seeds=None, number=0):
        assert stretch.n_left == 4 if not seen else 2
        seen += [targets for _, targets in stretch]
        assert stretch.n_left == 0
    wanted = SPLIT.batches(SIZE, shuffle=Shuffle(3))
    assert [rows.tolist() for rows in seen] == [rows.tolist() for _, rows in wanted]
    assert batches.n_left == 0


def test_rows_are_taken_as_far_as_batches_are_alike() -> None:
    for stretch in stretches(
        SPLIT.batches(SIZE), lambda: 99, ledger=TimeLedger(), seeds=None, number=0
    ):
        assert stretch.table is not None
        assert stretch.is_last
        assert stretch.take(2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        inputs, _ = next(stretch)
        assert inputs.tolist() == [8, 9, 10, 11]
        assert stretch.take(9).tolist() == [[12, 13, 14, 15], [16, 17, 18, 19]]
        assert stretch.n_left == 1
        assert stretch.take(9).tolist() == [[20]]
        assert stretch.n_left == 0


def test_batches_that_have_to_be_loaded_come_one_by_one() -> None:
    lengths = torch.ones(N_ROWS, dtype=torch.int64)
    padded = ResidentSplit(torch.ones(N_ROWS, 1), ROWS, ROWS, None, lengths)
    n_seen = 0
    for stretch in stretches(
        padded.batches(SIZE), lambda: 8, ledger=TimeLedger(), seeds=None, number=0
    ):
        assert stretch.n_left == 1
        assert stretch.table is None
        n_seen += len(list(stretch))
    assert n_seen == 6


def test_each_batch_is_seeded_by_its_number() -> None:
    seeds = BatchSeeds(5, torch.device("cpu"), has_own_code=False)

    def drawn(number: int) -> float:
        seeds.use(number)
        return torch.rand(()).item()

    wanted = [drawn(number) for number in range(7, 12)]
    stretch = Stretch(SPLIT.batches(SIZE), 5, ledger=TimeLedger(), seeds=seeds, number=7)
    next(stretch)
    assert torch.rand(()).item() == wanted[0]
    assert stretch.number == 8
    stretch.seed(9)
    assert torch.rand(()).item() == wanted[2]
    stretch.take(2)
    next(stretch)
    assert torch.rand(()).item() == wanted[3]


def test_each_stretch_is_as_long_as_it_may_be_when_its_turn_comes() -> None:
    lengths, most = [], [1, 3, 2, 99]
    parts = stretches(
        SPLIT.batches(SIZE), lambda: most.pop(0), ledger=TimeLedger(), seeds=None, number=0
    )
    for part in parts:
        lengths.append(part.n_left)
        list(part)
    assert lengths[:3] == [1, 3, 2]
