"""The kinds of data of which a logged model takes rows as a person has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.data.audio import waves
from sweeper.data.audio.log_mel import LogMel
from sweeper.data.built_in import arrays as picture_arrays
from sweeper.data.images import pixels as picture_pixels
from sweeper.data.labelled import cells as table_cells
from sweeper.data.tables.inputs import TableInputs
from sweeper.data.texts import words
from sweeper.trial import DataInfo


class Normalize(nn.Module):
    """Shift and scale each channel, so that a logged model takes images as files give them.

    Args:
        mean: Per channel, in units of the input.
        std: As ``mean``, > 0.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        shape = (-1, 1, 1) if len(mean) > 1 else ()  # several channels are those of images
        self.register_buffer("mean", torch.tensor(mean).view(shape))
        self.register_buffer("std", torch.tensor(std).view(shape))

    def forward(self, images: Tensor) -> Tensor:
        """Map float32 [B, C, H, W], or [B, ...] of one channel, in [0, 1] to the same shape."""
        return (images - self.get_buffer("mean")) / self.get_buffer("std")


@dataclass(frozen=True)
class ServedKind:
    """How data of a kind come from rows to a network.

    Attributes:
        reader: Its source lies beside a model: ``read_rows(rows, strings)`` makes of them what the
            module takes.
        build: The module, by the tensors that were fitted.
        probe: Some samples to try the module with.
        column: As :class:`~sweeper.tracking.program_form.RowForm` has it.
        packages: That the reader imports, beside torch and what serves.
    """

    reader: ModuleType
    build: Callable[[Mapping[str, Tensor]], nn.Module]
    probe: Callable[[Mapping[str, Tensor], DataInfo], Tensor]
    column: Literal["any", "binary", "string"] | None
    packages: Sequence[str]


def _probe_table(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:
    assert data.features is not None
    return TableInputs(fitted).probe(data.features.categories)


def _build_pictures(fitted: Mapping[str, Tensor]) -> nn.Module:
    return Normalize(tuple(fitted["mean"].tolist()), tuple(fitted["std"].tolist()))


def _probe_pictures(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:  # noqa: ARG001
    return torch.rand(3, *data.input_shape, generator=torch.Generator().manual_seed(0))


class Unit(nn.Module):
    """Pixels of 8 bits as numbers in [0, 1]."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 [B, ...] to float32 of the same shape."""
        return pixels.float() / 255


def _build_images(fitted: Mapping[str, Tensor]) -> nn.Module:
    return nn.Sequential(Unit(), _build_pictures(fitted))


def _probe_images(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:
    return (_probe_pictures(fitted, data) * 255).to(torch.uint8)


def _build_audio(fitted: Mapping[str, Tensor]) -> LogMel:
    mean, std = fitted["mean"].tolist(), fitted["std"].tolist()
    return LogMel(int(fitted["sample_rate"]), len(mean), mean, std)


def _probe_audio(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:
    n_samples = data.input_shape[1] * _build_audio(fitted).hop
    waves = torch.rand(3, n_samples, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ends = torch.tensor([[n_samples], [n_samples // 2], [n_samples // 3]])
    return waves * (torch.arange(n_samples) < ends)


def _build_text(fitted: Mapping[str, Tensor]) -> nn.Module:  # noqa: ARG001
    return nn.Identity()


def _probe_text(fitted: Mapping[str, Tensor], data: DataInfo) -> Tensor:  # noqa: ARG001
    """Three texts, the second of one word and the third of none that is known."""
    assert data.tokens is not None
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, data.tokens.n_words, (3, *data.input_shape), generator=generator)
    ids[1, 1:] = 0
    ids[2] = 1
    return ids


KINDS: Mapping[str, ServedKind] = {
    "audio": ServedKind(waves, _build_audio, _probe_audio, "any", ()),
    "arrays": ServedKind(picture_arrays, _build_pictures, _probe_pictures, None, ()),
    "images": ServedKind(picture_pixels, _build_images, _probe_images, "binary", ("Pillow",)),
    "table": ServedKind(table_cells, TableInputs, _probe_table, "any", ("pyarrow",)),
    "text": ServedKind(words, _build_text, _probe_text, "string", ()),
    "text_parts": ServedKind(words, _build_text, _probe_text, "string", ("tokenizers",)),
}
