"""The kinds of data that a study file names, and how each is decoded and read.

What a kind needs is imported when it is used, so that to know them takes no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
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
        package: Below ``sweeper.data``, with two modules: ``decode``, whose ``write`` decodes, and
            ``rows``, whose ``map_rows`` reads what was decoded.
        identity: All that the decoded content follows from, as JSON has it; None before a
            download.
        label: Their name in records.
    """

    package: str
    identity: Callable[[DataConfig], list[Any] | None]
    label: Callable[[DataConfig], str]

    def write(self, config: DataConfig, folder: Path) -> Content:
        """Decode into a folder."""
        content: Content = self._module("decode").write(config, folder)
        return content

    def map_rows(self, entry: CacheEntry, config: DataConfig) -> "Rows":
        """The rows of what was decoded, as a configuration wants them."""
        rows: Rows = self._module("rows").map_rows(entry, config)
        return rows

    def _module(self, name: str) -> Any:
        return import_module(f"sweeper.data.{self.package}.{name}")


def label_of(config: DataConfig) -> str:
    """The name of some data in records."""
    return config.name if is_reference(config.name) else KINDS[config.name].label(config)


def _text_identity(config: DataConfig) -> list[Any]:
    if config.params.get("tokenizer") == "bpe":
        from sweeper.data.texts.vocabulary import require_tokenizers

        require_tokenizers()
    return row_identity(config, fitted={"tokenizer", "vocabulary"})


_DATA_SET = Kind("built_in", sources.identity, lambda config: config.name)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys((*sources.SOURCES, sources.DIGITS), _DATA_SET),
    "table": Kind("tables", partial(row_identity, fitted={"scale"}), row_label),
    "audio": Kind("audio", row_identity, row_label),
    "images": Kind("images", row_identity, row_label),
    "text": Kind("texts", _text_identity, row_label),
}
