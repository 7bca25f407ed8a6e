"""The kinds of data that a study file names, and how each is decoded and read.

What a kind needs is imported when it is used, so that to know them takes no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.built_in import sources
from sweeper.data.content import CacheEntry, Content
from sweeper.data.labelled.location import row_identity, row_label

if TYPE_CHECKING:
    from sweeper.data.rows import Rows


@dataclass(frozen=True)
class Kind:
    """A kind of data, or a data set.

    Attributes:
        identity: All that the decoded content follows from, as JSON has it; None before a
            download.
        write: Decodes into a folder.
        map: The rows of what was decoded, as a configuration wants them.
        label: Their name in records.
    """

    identity: Callable[[DataConfig], list[Any] | None]
    write: Callable[[DataConfig, Path], Content]
    map: Callable[[CacheEntry, DataConfig], "Rows"]
    label: Callable[[DataConfig], str]


def label_of(config: DataConfig) -> str:
    """The name of some data in records."""
    return config.name if is_reference(config.name) else KINDS[config.name].label(config)


def _write_images(config: DataConfig, folder: Path) -> Content:
    from sweeper.data.built_in.decode import write_images

    return write_images(config, folder)


def _map_images(entry: CacheEntry, config: DataConfig) -> "Rows":
    from sweeper.data.built_in.rows import map_built_in

    source = sources.SOURCES.get(config.name)
    return map_built_in(entry, config.task, source.classes if source else sources.DIGIT_NAMES)


def _write_table(config: DataConfig, folder: Path) -> Content:
    from sweeper.data.tables.decode import write_table

    return write_table(config, folder)


def _map_table(entry: CacheEntry, config: DataConfig) -> "Rows":
    from sweeper.data.tables.rows import map_table

    return map_table(entry, config.params.get("scale", "standard"))


def _write_audio(config: DataConfig, folder: Path) -> Content:
    from sweeper.data.audio.decode import write_audio

    return write_audio(config, folder)


def _map_audio(entry: CacheEntry, config: DataConfig) -> "Rows":
    from sweeper.data.audio.rows import map_audio

    return map_audio(entry)


def _write_pictures(config: DataConfig, folder: Path) -> Content:
    from sweeper.data.images.decode import write_pictures

    return write_pictures(config, folder)


def _map_pictures(entry: CacheEntry, config: DataConfig) -> "Rows":
    from sweeper.data.images.rows import map_pictures

    return map_pictures(entry, is_sized="size" in config.params)


def _text_identity(config: DataConfig) -> list[Any]:
    if config.params.get("tokenizer") == "bpe":
        from sweeper.data.texts.vocabulary import require_tokenizers

        require_tokenizers()
    return row_identity(config, fitted={"tokenizer", "vocabulary"})


def _write_text(config: DataConfig, folder: Path) -> Content:
    from sweeper.data.texts.decode import write_text

    return write_text(config, folder)


def _map_text(entry: CacheEntry, config: DataConfig) -> "Rows":
    from sweeper.data.texts.rows import map_text

    return map_text(entry, config.params)


_DATA_SET = Kind(sources.identity, _write_images, _map_images, lambda config: config.name)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys((*sources.SOURCES, sources.DIGITS), _DATA_SET),
    "table": Kind(partial(row_identity, fitted={"scale"}), _write_table, _map_table, row_label),
    "audio": Kind(row_identity, _write_audio, _map_audio, row_label),
    "images": Kind(row_identity, _write_pictures, _map_pictures, row_label),
    "text": Kind(_text_identity, _write_text, _map_text, row_label),
}
