"""Training samples changed at random: functions of a batch on its device, each sample by itself.

All draw from torch's default generator of that device, whose state a checkpoint holds, and none
waits for the device. Where inputs are normalised, as uint8 of a data set is, 0 is the mean of the
training rows and 1 their standard deviation.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional as F

from sweeper.config.settings import TrainConfig
from sweeper.data.lengths import frame_lengths
from sweeper.data.scale import BARELY
from sweeper.errors import TrainingError
from sweeper.models.build import torch_dtype
from sweeper.trial import DataInfo, Task

#: Inputs and targets of a batch -> those that are trained on.
Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_OF_PICTURES = ("random_crop", "random_flip", "cutout", "color_jitter")
_OF_FRAMES = ("mask_time", "mask_frequency")
_KEYS = (*_OF_PICTURES, *_OF_FRAMES, "mixup")


def build_augmentation(settings: TrainConfig, data: DataInfo) -> Augment | None:
    """What a trial does to each batch that it trains on; None if nothing.

    Raises:
        TrainingError: If a setting means nothing for such data.
    """
    _check(settings, data)
    changes: list[Callable[[Tensor], Tensor]] = []
    if settings.random_crop or settings.random_flip:
        changes.append(
            partial(crop_and_flip, padding=settings.random_crop, flips=settings.random_flip)
        )
    if settings.color_jitter:
        changes.append(partial(jitter_color, strength=settings.color_jitter))
    if settings.cutout:
        changes.append(partial(cut_out, side=settings.cutout))
    if settings.mask_time or settings.mask_frequency:
        changes.append(
            partial(mask_frames, time=settings.mask_time, frequency=settings.mask_frequency)
        )
    mix = partial(mix_up, alpha=settings.mixup, task=data.task, n_outputs=data.n_outputs)
    if not changes and not settings.mixup:
        return None

    def augment(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        for change in changes:
            inputs = change(inputs)
        return mix(inputs, targets) if settings.mixup else (inputs, targets)

    return augment


def _check(settings: TrainConfig, data: DataInfo) -> None:
    wanted = [key for key in _KEYS if getattr(settings, key)]
    fitting = _fitting(data)
    for key in wanted:
        if key not in fitting:
            known = ", ".join(fitting) or "nothing of that kind"
            raise TrainingError(
                f"train.{key}: {data.name} holds {_form(data)}, which are not changed that way; "
                f"leave it out. They take {known}"
            )
    n_bands, n_frames = data.input_shape[-2:] if data.frames else (0, 0)
    for key, size in (("mask_time", n_frames), ("mask_frequency", n_bands)):
        if key in wanted and (width := getattr(settings, key)) >= size:
            raise TrainingError(
                f"train.{key}: must be less than the {size} of a sample, got {width}, as some "
                "would be left without content; lower it"
            )
    for key in ("random_crop", "cutout"):
        if key in wanted and (size := getattr(settings, key)) >= min(data.input_shape[1:]):
            height, width = data.input_shape[1:]
            raise TrainingError(
                f"train.{key}: must be less than both sides of a picture, got {size} for "
                f"{height} x {width}, as some would be left without content; lower it"
            )


def _fitting(data: DataInfo) -> tuple[str, ...]:
    """Keys of ``train`` that can change such samples."""
    if not torch_dtype(data.input_dtype).is_floating_point:
        return ()
    if data.features is not None:
        return () if data.features.categories else ("mixup",)
    if data.frames:
        return (*_OF_FRAMES, "mixup")
    return (*_OF_PICTURES, "mixup") if len(data.input_shape) == 3 else ("mixup",)


def _form(data: DataInfo) -> str:
    if data.features is not None:
        categories = " with categories" if data.features.categories else ""
        return f"rows of a table{categories}"
    shape = list(data.input_shape)
    if data.frames:
        return f"frames {shape}"
    return f"{data.input_dtype} samples {shape}" + " (pictures)" * (len(shape) == 3)


def crop_and_flip(inputs: Tensor, *, padding: int, flips: bool) -> Tensor:
    """Shift each picture by whole pixels, and turn half of them left to right.

    Args:
        inputs: float [B, C, H, W].
        padding: Furthest shift along each side, >= 0; zeros come in.
        flips: Whether to turn.

    Returns:
        As ``inputs``: a crop of the old size from the padded picture, by one gather.
    """
    n_rows, n_channels, height, width = inputs.shape
    device = inputs.device
    padded = F.pad(inputs, [padding] * 4) if padding else inputs
    down, right = torch.randint(0, 2 * padding + 1, (2, n_rows, 1), device=device).unbind()
    rows = torch.arange(height, device=device) + down
    columns = torch.arange(width, device=device)
    if flips:
        is_turned = torch.rand(n_rows, 1, device=device) < 0.5
        columns = torch.where(is_turned, width - 1 - columns, columns)
    columns = columns + right
    pixels = rows[:, :, None] * (width + 2 * padding) + columns[:, None]  # [B, H, W]
    index = pixels.view(n_rows, 1, height * width).expand(-1, n_channels, -1)
    return padded.flatten(2).gather(2, index).view(inputs.shape)


def jitter_color(inputs: Tensor, *, strength: float) -> Tensor:
    """Change brightness and contrast of each picture, and of three channels the saturation.

    Brightness is added, uniform in [-strength, strength]. Contrast is what the distance from the
    picture's mean, saturation what that from the pixel's mean over the channels is multiplied by;
    both are uniform in [1 - strength, 1 + strength].

    Args:
        inputs: float [B, C, H, W].
        strength: In (0, 1).
    """
    draws = torch.rand(3, len(inputs), 1, 1, 1, device=inputs.device)
    brightness, contrast, saturation = (strength * (2 * draws - 1)).unbind()
    contrast, saturation = 1 + contrast, 1 + saturation
    means = inputs.mean((1, 2, 3), keepdim=True)
    shift = means * (1 - contrast) + brightness
    if inputs.shape[1] != 3:
        return inputs * contrast + shift
    grey = inputs.mean(1, keepdim=True)
    return inputs * (contrast * saturation) + (grey * (contrast * (1 - saturation)) + shift)


def cut_out(inputs: Tensor, *, side: int) -> Tensor:
    """Set a square of each picture to 0, centred at any pixel; what lies outside is cut off.

    Args:
        inputs: float [B, C, H, W].
        side: Of the square in pixels, >= 1.

    Source: DeVries and Taylor 2017 (Cutout), section 3.2.
    """
    n_rows, _, height, width = inputs.shape
    device = inputs.device

    def within(length: int) -> Tensor:
        first = torch.randint(0, length, (n_rows, 1), device=device) - side // 2
        places = torch.arange(length, device=device)
        return (places >= first) & (places < first + side)  # [B, length]

    square = within(height)[:, :, None] & within(width)[:, None]
    return inputs.masked_fill(square[:, None], 0)


def mask_frames(frames: Tensor, *, time: int, frequency: int) -> Tensor:
    """Set a stretch of time, and a range of bands, of each sample to their mean.

    Both widths are uniform from 0 to the largest, and that of time at most half of the sample's
    length; where they begin is uniform, too. A sample ends where it did.

    Args:
        frames: float [B, M, T], scaled, 0 in all bands after the end of a sample.
        time: Largest width in frames, in [0, T).
        frequency: Largest width in bands, in [0, M).

    Source: Park et al. 2019 (SpecAugment), one mask of each kind; half of the length is ours.
    """
    n_rows, n_bands, n_frames = frames.shape
    device = frames.device
    lengths = frame_lengths(frames)[:, None]
    all_bands = torch.full_like(lengths, n_bands)

    def stretch(size: int, widest: int, ends: Tensor, most: Tensor) -> Tensor:
        """Of each sample, within [0, its end) and of a width up to its most, bool [B, size]."""
        width = torch.randint(0, widest + 1, (n_rows, 1), device=device).minimum(most)
        first = (torch.rand(n_rows, 1, device=device) * (ends - width + 1)).floor()
        first = torch.minimum(first, ends - width)  # a share just below 1 may be rounded up
        places = torch.arange(size, device=device)
        return (places >= first) & (places < first + width)

    in_time = stretch(n_frames, time, lengths, lengths // 2)[:, None]
    in_bands = stretch(n_bands, frequency, all_bands, all_bands)[:, :, None]
    is_frame = torch.arange(n_frames, device=device) < lengths
    # Not 0, which would say that a sample has ended.
    return frames.masked_fill((in_time | in_bands) & is_frame[:, None], BARELY)


def mix_up(
    inputs: Tensor, targets: Tensor, *, alpha: float, task: Task, n_outputs: int
) -> tuple[Tensor, Tensor]:
    """Mix each sample with its neighbour in the batch, which is in random order anyway.

    Targets are mixed as the inputs are: classes and labels become shares. Cross-entropy is linear
    in them, so its loss is the mixture of both losses.

    Args:
        inputs: float [B, ...].
        targets: Of the task.
        alpha: Of the distribution Beta(alpha, alpha) of each sample's share, > 0.
        task: Of the targets.
        n_outputs: Of a model.

    Returns:
        As ``inputs``; and targets float32 [B, n_outputs].

    Source: Zhang et al. 2018 (mixup), with a share for each sample in place of one for a batch.
    """
    concentration = torch.full((len(inputs),), alpha, device=inputs.device)
    shares = Beta(concentration, concentration, validate_args=False).sample()[:, None]
    if task == "classification":
        wanted = torch.zeros(len(targets), n_outputs, device=targets.device)
        wanted.scatter_(1, targets[:, None], 1)
    else:
        wanted = targets.float()
    share = shares.view(-1, *[1] * (inputs.ndim - 1)).to(inputs.dtype)
    return torch.lerp(inputs.roll(1, 0), inputs, share), wanted.roll(1, 0).lerp(wanted, shares)
