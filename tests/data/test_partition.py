import pytest
import torch

from sweeper.data.partition import grouped_split, stratified_split, validation_sizes


@pytest.mark.parametrize(
    ("counts", "share", "sizes"),
    [
        ([10, 10], 0.1, [1, 1]),
        # 3 of 10 rows; quotas 1.5, 0.9, 0.6: floors 1, 0 -> 1, 0 -> 1 already make 3.
        ([5, 3, 2], 0.3, [1, 1, 1]),
        # 5 of 20; quotas 2.5, 1.75, 0.75: floors 2, 1, 1, and the remainder 0.75 takes the fifth.
        ([10, 7, 3], 0.25, [2, 2, 1]),
        # 5 of 12; quotas 1.67 each: floors 1, 1, 1, then the first classes among equals.
        ([4, 4, 4], 0.4, [2, 2, 1]),
        # 2 of 20, but each of the four classes keeps one row on each side.
        ([5, 5, 5, 5], 0.1, [1, 1, 1, 1]),
        # 5 of 6, but one row of each class stays for training.
        ([2, 2, 2], 0.9, [1, 1, 1]),
        # 4 of 8; quotas 3.5, 0.5, and the class of one row is trained on.
        ([7, 1], 0.5, [4, 0]),
        # A class that does not occur; 3 of 6.
        ([3, 0, 3], 0.5, [2, 0, 1]),
        # 10 of 100; quotas 9.7, 0.2, 0.1: 9, 1 (at least), 0 (one row).
        ([97, 2, 1], 0.1, [9, 1, 0]),
        # 3 of 30; quotas 2.5, 0.3, 0.2: 2, 1, 1 is one too many, and class 0 is furthest from
        # its bound: 1, 1, 1.
        ([25, 3, 2], 0.1, [1, 1, 1]),
        ([1, 1, 1], 0.4, [0, 0, 0]),
    ],
)
def test_sizes_follow_the_largest_remainder(
    counts: list[int], share: float, sizes: list[int]
) -> None:
    assert validation_sizes(counts, share=share) == sizes


def test_the_total_is_exact_where_it_is_possible() -> None:
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    for share in (0.1, 0.15, 0.333, 0.5):
        sizes = validation_sizes(counts, share=share)
        assert sum(sizes) == round(share * 60000)
        assert all(
            abs(size - share * count) < 1 for size, count in zip(sizes, counts, strict=True)
        )


def test_tens_of_thousands_of_classes_are_parted() -> None:
    # A share of 1.4 rows a class: 1 each, and 2 in the first 20,000 of 50,000.
    assert validation_sizes([14] * 50_000, share=0.1) == [2] * 20_000 + [1] * 30_000


def test_every_row_is_on_one_side_and_classes_are_in_proportion() -> None:
    targets = torch.tensor([0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1])  # 4 and 8
    train, validation = stratified_split(targets, share=0.25, seed=3)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(12))
    assert train.tolist() == sorted(train.tolist())
    assert validation.tolist() == sorted(validation.tolist())
    assert targets[validation].bincount().tolist() == [1, 2]


def test_the_seed_decides_the_rows() -> None:
    targets = torch.arange(200) % 4
    first = stratified_split(targets, share=0.2, seed=1)
    again = stratified_split(targets, share=0.2, seed=1)
    other = stratified_split(targets, share=0.2, seed=2)
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_any_row_of_a_class_can_be_held_out() -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 1])
    seen = {
        row
        for seed in range(40)
        for row in stratified_split(targets, share=0.34, seed=seed)[1].tolist()
    }
    assert seen == set(range(6))


def test_groups_stay_whole_and_come_near_to_the_share() -> None:
    groups = torch.tensor([7, 3, 3, 7, 5, 9, 9, 9, 9, 5] * 10)  # 20, 20, 20 and 40 rows
    for seed in range(20):
        train, validation = grouped_split(groups, share=0.2, seed=seed)
        assert sorted([*train.tolist(), *validation.tolist()]) == list(range(100))
        assert not set(groups[train].tolist()) & set(groups[validation].tolist())
        assert len(validation) in (20, 40)  # 40 is as near as none
    first, other = (
        {tuple(grouped_split(groups, share=0.2, seed=seed)[1].tolist()) for seed in seeds}
        for seeds in ((1, 1), range(20))
    )
    assert len(first) == 1
    assert len(other) > 1


def test_of_groups_that_are_all_too_big_the_smallest_is_held_out() -> None:
    groups = torch.tensor([0] * 60 + [1] * 40)
    assert grouped_split(groups, share=0.1, seed=0)[1].tolist() == list(range(60, 100))
    # Both would fit, but one is trained on.
    assert len(grouped_split(torch.tensor([0, 1]), share=0.9, seed=0)[0]) == 1
