"""What training samples are changed to: each by itself, from torch's generator alone."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from sweeper.config.settings import TrainConfig
from sweeper.errors import TrainingError
from sweeper.training.augmentation import (
    Augment,
    build_augmentation,
    crop_and_flip,
    cut_out,
    jitter_color,
    mask_frames,
    mix_up,
)
from sweeper.trial import DataInfo, Features, Task

PICTURES = DataInfo("cifar10", "0" * 16, (3, 8, 10), 10, 64, 8)
CLIPS = replace(PICTURES, name="clips", input_shape=(10, 20), frames=True)
TABLE = replace(PICTURES, name="adult", input_shape=(4,), features=Features(4, ()))
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "random_crop": partial(crop_and_flip, padding=2, flips=False),
    "random_flip": partial(crop_and_flip, padding=0, flips=True),
    "both": partial(crop_and_flip, padding=2, flips=True),
    "color_jitter": partial(jitter_color, strength=0.3),
    "cutout": partial(cut_out, side=3),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def equal_pictures(n_rows: int = 64, shape: tuple[int, ...] = (3, 8, 10)) -> Tensor:
    return (
        torch.arange(1.0, 241.0)[: torch.Size(shape).numel()].view(shape).repeat(n_rows, 1, 1, 1)
    )


def built(data: DataInfo = PICTURES, **settings: Any) -> Augment | None:
    return build_augmentation(TrainConfig(**settings), data)


@pytest.mark.parametrize(
    ("name", "n_least"),
    [("random_crop", 20), ("random_flip", 2), ("both", 25), ("color_jitter", 64), ("cutout", 35)],
)
@pytest.mark.parametrize("shape", [(3, 8, 10), (1, 8, 10)], ids=["rgb", "grey"])
def test_equal_pictures_are_changed_each_by_itself(
    name: str, n_least: int, shape: tuple[int, ...]
) -> None:
    pictures = equal_pictures(shape=shape)
    changed = CHANGES[name](pictures)
    assert changed.shape == pictures.shape
    assert len(changed.unique(dim=0)) >= n_least
    assert torch.equal(pictures, equal_pictures(shape=shape))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_equal_state_of_the_generator_gives_equal_pictures(
    change: Callable[[Tensor], Tensor],
) -> None:
    state = torch.get_rng_state()
    first = change(equal_pictures())
    assert not torch.equal(change(equal_pictures()), first)
    torch.set_rng_state(state)
    assert torch.equal(change(equal_pictures()), first)


@pytest.mark.parametrize("flips", [False, True])
def test_a_crop_is_one_of_those_of_the_padded_picture(flips: bool) -> None:
    picture = equal_pictures(1)[0]
    padded = F.pad(picture, (2, 2, 2, 2))
    crops = [padded[:, y : y + 8, x : x + 10] for y in range(5) for x in range(5)]
    crops += [crop.flip(-1) for crop in crops] if flips else []
    found = crop_and_flip(equal_pictures(2000), padding=2, flips=flips)
    seen = {
        next(i for i, crop in enumerate(crops) if torch.equal(crop, one))
        for one in found.unique(dim=0)
    }
    assert seen == set(range(len(crops)))


def test_half_of_the_pictures_are_flipped() -> None:
    pictures = equal_pictures(2000)
    flipped = crop_and_flip(pictures, padding=0, flips=True)
    is_flipped = (flipped == pictures.flip(-1)).all((1, 2, 3))
    assert ((flipped == pictures).all((1, 2, 3)) | is_flipped).all()
    assert 900 < is_flipped.sum() < 1100


def test_a_square_is_cut_out_and_at_the_edge_a_part_of_one() -> None:
    is_cut = cut_out(equal_pictures(2000), side=3) == 0
    assert torch.equal(is_cut[:, 0], is_cut[:, 2])
    rows, columns = is_cut[:, 0].any(2), is_cut[:, 0].any(1)
    assert torch.equal(is_cut[:, 0], rows[:, :, None] & columns[:, None])
    for sides in (rows, columns):
        assert sides.sum(1).unique().tolist() == [2, 3]
        assert (sides.int().diff(dim=1) == 1).sum(1).max() == 1  # they lie together
        assert (sides.sum(0) > 0).all()


def test_colour_changes_brightness_contrast_and_saturation_within_the_strength() -> None:
    pictures = torch.randn(1, 3, 8, 10).repeat(4000, 1, 1, 1)
    changed = jitter_color(pictures, strength=0.3)
    mean, grey = pictures.mean((1, 2, 3)), pictures.mean(1)
    brightness = changed.mean((1, 2, 3)) - mean
    contrast = changed.mean(1).std((1, 2)) / grey.std((1, 2))
    colour = (changed - changed.mean(1, keepdim=True)) / (pictures - grey[:, None])
    saturation = colour.flatten(1).median(1).values / contrast
    for values, middle in ((brightness, 0.0), (contrast, 1.0), (saturation, 1.0)):
        assert values.min() == pytest.approx(middle - 0.3, abs=0.01)
        assert values.max() == pytest.approx(middle + 0.3, abs=0.01)
        assert values.mean() == pytest.approx(middle, abs=0.02)


def test_grey_pictures_keep_their_proportions() -> None:
    pictures = torch.randn(5, 1, 8, 10)
    changed = jitter_color(pictures, strength=0.3)
    centred, before = (each - each.mean((1, 2, 3), keepdim=True) for each in (changed, pictures))
    contrast = centred.std((1, 2, 3)) / before.std((1, 2, 3))
    torch.testing.assert_close(centred, before * contrast.view(-1, 1, 1, 1))


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_sample_and_its_targets_are_mixed_with_those_of_its_neighbour(task: Task) -> None:
    inputs = torch.randn(6, 3, 2, 2)
    targets = {
        "classification": torch.tensor([0, 1, 2, 2, 0, 1]),
        "multilabel": torch.randn(6, 3) > 0,
        "regression": torch.randn(6, 3),
    }[task]
    mixed, wanted = mix_up(inputs, targets, alpha=1.0, task=task, n_outputs=3)
    plain = F.one_hot(targets, 3).float() if task == "classification" else targets.float()
    others = inputs.roll(1, 0)
    shares = ((mixed - others) / (inputs - others)).flatten(1)
    share = shares.median(1, keepdim=True).values
    torch.testing.assert_close(shares, share.expand_as(shares), rtol=0, atol=1e-3)
    assert len(share.unique()) == 6
    assert ((share > 0) & (share < 1)).all()
    torch.testing.assert_close(
        wanted, share * plain + (1 - share) * plain.roll(1, 0), rtol=0, atol=1e-3
    )
    assert wanted.dtype == torch.float32


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 100.0])
def test_shares_have_the_variance_of_their_distribution(alpha: float) -> None:
    ones = torch.arange(4000) % 2
    mixed, _ = mix_up(ones[:, None].float(), ones, alpha=alpha, task="classification", n_outputs=2)
    shares = torch.where(ones == 1, mixed[:, 0], 1 - mixed[:, 0])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def clips(*lengths: int) -> Tensor:
    """Ten bands of 20 frames, of which some are padding."""
    frames = torch.ones(len(lengths), 10, 20)
    for row, length in enumerate(lengths):
        frames[row, :, length:] = 0
    return frames


def test_of_a_clip_a_stretch_of_time_is_masked_that_is_at_most_half_of_it() -> None:
    lengths = [20, 9, 2, 1] * 500
    masked = mask_frames(clips(*lengths), time=7, frequency=0)
    is_masked = (masked < 0.5) & (masked > 0)
    assert torch.equal(is_masked, is_masked[:, :1].expand_as(is_masked))
    in_time = is_masked[:, 0]
    assert (in_time.int().diff(dim=1) == 1).sum(1).max() == 1  # they lie together
    for row, widest in enumerate([7, 4, 1, 0]):
        widths = in_time[row::4].sum(1)
        assert widths.unique().tolist() == list(range(widest + 1))
        places = in_time[row::4].any(0).nonzero().flatten().tolist()
        assert places == list(range(lengths[row] if widest else 0))


def test_of_a_clip_a_range_of_bands_is_masked() -> None:
    masked = mask_frames(clips(*[20] * 2000), time=0, frequency=4)
    is_masked = masked < 0.5
    assert torch.equal(is_masked, is_masked[:, :, :1].expand_as(is_masked))
    in_bands = is_masked[:, :, 0]
    assert (in_bands.int().diff(dim=1) == 1).sum(1).max() == 1
    assert in_bands.sum(1).unique().tolist() == [0, 1, 2, 3, 4]
    assert in_bands.any(0).all()


def test_a_masked_clip_is_as_long_as_it_was() -> None:
    frames = clips(*[20, 13, 2, 1] * 100)
    masked = mask_frames(frames, time=19, frequency=9)
    assert torch.equal((masked != 0).any(1), (frames != 0).any(1))
    assert masked[frames == 0].unique().tolist() == [0]
    assert masked[frames != 0].unique().numel() == 2
    assert torch.equal(frames, clips(*[20, 13, 2, 1] * 100))
    assert len(masked[::4].unique(dim=0)) > 90


def test_clips_are_masked_as_the_generator_says() -> None:
    augment = built(CLIPS, mask_time=8, mask_frequency=4)
    assert augment is not None
    state = torch.get_rng_state()
    first, targets = augment(clips(20, 11, 6), torch.arange(3))
    assert torch.equal(targets, torch.arange(3))
    assert not torch.equal(augment(clips(20, 11, 6), targets)[0], first)
    torch.set_rng_state(state)
    assert torch.equal(augment(clips(20, 11, 6), targets)[0], first)


def test_nothing_is_done_unless_asked() -> None:
    assert built() is None
    assert built(TABLE) is None


def test_all_of_them_together_keep_shape_and_dtype() -> None:
    augment = built(random_crop=2, random_flip=True, cutout=3, color_jitter=0.2, mixup=0.4)
    assert augment is not None
    inputs, targets = augment(equal_pictures(), torch.arange(64) % 10)
    assert inputs.shape == (64, 3, 8, 10)
    assert inputs.dtype == torch.float32
    assert targets.shape == (64, 10)


TEXTS = replace(PICTURES, name="texts", input_shape=(9,), input_dtype="int64")
WORDY = replace(TABLE, features=Features(2, (5,)))


@pytest.mark.parametrize(
    ("data", "settings", "said"),
    [
        (
            TABLE,
            {"random_crop": 2, "mixup": 0.2},
            "train.random_crop: adult holds rows of a table, which are not changed that way; "
            "leave it out. They take mixup",
        ),
        (
            WORDY,
            {"mixup": 0.2},
            "train.mixup: adult holds rows of a table with categories, which are not changed that "
            "way; leave it out. They take nothing of that kind",
        ),
        (
            TEXTS,
            {"mixup": 0.2},
            "train.mixup: texts holds int64 samples [9], which are not changed that way; leave it "
            "out. They take nothing of that kind",
        ),
        (
            CLIPS,
            {"random_crop": 2},
            "train.random_crop: clips holds frames [10, 20], which are not changed that way; "
            "leave it out. They take mask_time, mask_frequency, mixup",
        ),
        (
            PICTURES,
            {"mask_time": 2},
            "train.mask_time: cifar10 holds float32 samples [3, 8, 10] (pictures), which are not "
            "changed that way; leave it out. They take random_crop, random_flip, cutout, "
            "color_jitter, mixup",
        ),
        (
            CLIPS,
            {"mask_frequency": 10},
            "train.mask_frequency: must be less than the 10 of a sample, got 10, as some would be "
            "left without content; lower it",
        ),
        (
            PICTURES,
            {"cutout": 8},
            "train.cutout: must be less than both sides of a picture, got 8 for 8 x 10, as some "
            "would be left without content; lower it",
        ),
    ],
)
def test_what_means_nothing_for_the_data_is_refused_with_what_does(
    data: DataInfo, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        built(data, **settings)
    assert str(caught.value) == said


def test_nothing_looks_at_a_value_for_which_it_would_wait_for_the_device() -> None:
    augment = built(random_crop=2, random_flip=True, cutout=3, color_jitter=0.2, mixup=0.4)
    assert augment is not None
    with FakeTensorMode():  # tensors without values: to read one fails
        inputs, targets = augment(torch.empty(64, 3, 8, 10), torch.empty(64, dtype=torch.int64))
        frames = mask_frames(torch.empty(64, 10, 20), time=8, frequency=4)
    assert (inputs.shape, targets.shape) == ((64, 3, 8, 10), (64, 10))
    assert frames.shape == (64, 10, 20)
