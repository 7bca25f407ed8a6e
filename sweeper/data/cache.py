"""Decoded data sets on disk, ready to be memory-mapped by every worker.

    <cache_dir>/mnist-0123456789abcdef/inputs.bin    uint8 [N, C, H, W]
                                       targets.bin   int64 [N]
                                       meta.json

Only the train split is decoded. The folder's name carries a digest of what it was made from. It
is written under another name, forced to disk and then renamed, so a folder that exists is whole.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.channels import ChannelSums
from sweeper.data.sources import DIGITS, SOURCES, raw_files
from sweeper.durable import replace_file
from sweeper.errors import DataError
from sweeper.locks import FileLock

log = logging.getLogger("sweeper")

#: Raised by one whenever the decoded content or the layout changes.
_FORMAT = 1


@dataclass(frozen=True)
class CacheEntry:
    """A decoded data set.

    Attributes:
        folder: Holds ``inputs.bin`` and ``targets.bin``.
        shape: Of the inputs, [N, C, H, W].
        n_classes: Targets lie in [0, n_classes).
        digest: Of inputs and targets, see :mod:`~sweeper.data.fingerprint`.
        sums: Of all N rows.
    """

    folder: Path
    shape: tuple[int, ...]
    n_classes: int
    digest: str
    sums: ChannelSums

    @property
    def inputs(self) -> Path:
        """Raw uint8 values."""
        return self.folder / "inputs.bin"

    @property
    def targets(self) -> Path:
        """Raw int64 values in the machine's byte order."""
        return self.folder / "targets.bin"

    def is_whole(self) -> bool:
        """Whether both files have the size that the shape asks for."""
        sizes = {self.inputs: prod(self.shape), self.targets: 8 * self.shape[0]}
        return all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())


def prepare_data(config: DataConfig, *, cache_dir: Path) -> None:
    """Make sure that the decoded train split is in the cache, as it was written.

    It is downloaded if need be. What is there is read once, as a disk may have changed it; if it
    is not what was written, that is said, and it is decoded anew. Takes torch only to download, to
    read CIFAR-10 and to resize. Does nothing for a user's ``module:function``, which every worker
    calls itself.

    Raises:
        DataError: If the data set is unknown, not to be had, unreadable, or the cache cannot be
            written. A download that cannot succeed ends within 15 seconds.
    """
    if not is_reference(config.name) and not _is_intact(entry := open_cache(config, cache_dir)):
        with _locked(cache_dir, config.name):
            # Another process may have made it anew meanwhile.
            if (found := _find(config, cache_dir)) is not None and not _is_intact(found):
                log.warning(
                    "the decoded data in %s are not what was written there, though of the right "
                    "size (a failing disk?); they are decoded anew",
                    entry.folder,
                )
                _make(config, cache_dir)


def open_cache(config: DataConfig, cache_dir: Path) -> CacheEntry:
    """The cache entry of a built-in data set, made first if need be; raises as prepare_data.

    Its content is not read.
    """
    if config.name != DIGITS and config.name not in SOURCES:
        known = ", ".join([*SOURCES, DIGITS])
        raise DataError(
            f"data.name: no data set {config.name!r}; there are {known}, and your own as "
            "package.module:function"
        )
    if (entry := _find(config, cache_dir)) is not None:
        return entry
    with _locked(cache_dir, config.name):
        # Another process may have made it while this one waited.
        return _find(config, cache_dir) or _make(config, cache_dir)


def damaged_entries(cache_dir: Path) -> list[Path]:
    """Folders of data sets whose content is not what was written."""
    folders = [meta.parent for meta in cache_dir.glob("*/meta.json")]
    written = [folder for folder in folders if folder.suffix != ".partial"]
    entries = [entry for folder in written if (entry := _read(folder)) is not None]
    return sorted(entry.folder for entry in entries if not _is_intact(entry))


def _is_intact(entry: CacheEntry) -> bool:
    if not entry.is_whole():
        return False
    import numpy as np

    from sweeper.data.fingerprint import content_digest

    inputs = np.memmap(entry.inputs, np.uint8, mode="r", shape=entry.shape)
    targets = np.fromfile(entry.targets, np.int64)
    return content_digest(inputs, targets) == entry.digest


def remove_entry(folder: Path) -> None:
    """Take a decoded data set out of the cache; whoever wants it next decodes it anew."""
    name = folder.name.rpartition("-")[0]
    with FileLock(folder.parent / f"{name}.lock").held():
        shutil.rmtree(folder)


@contextmanager
def _locked(cache_dir: Path, name: str) -> Iterator[None]:
    """What is written to the cache inside, one process writes; where it may not, says so."""
    try:
        with FileLock(cache_dir / f"{name}.lock").held():
            yield
    except OSError as exc:
        raise DataError(
            f"the data cache {cache_dir} cannot be written: {exc}; free some space, or "
            "start the study in a folder that you may write to"
        ) from exc


def _find(config: DataConfig, cache_dir: Path) -> CacheEntry | None:
    if config.name != DIGITS and raw_files(config).missing():
        return None
    entry = _read(_folder(config, cache_dir))
    return entry if entry is not None and entry.is_whole() else None


def _folder(config: DataConfig, cache_dir: Path) -> Path:
    files = [] if config.name == DIGITS else raw_files(config).identity()
    key = json.dumps([_FORMAT, config.name, sorted(config.params.items()), files])
    return cache_dir / f"{config.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _read(folder: Path) -> CacheEntry | None:
    try:
        meta: Mapping[str, Any] = json.loads((folder / "meta.json").read_bytes())
        count, sums, squares = (meta["sums"][key] for key in ("count", "sums", "squares"))
        return CacheEntry(
            folder,
            tuple(meta["shape"]),
            meta["n_classes"],
            meta["sha256"],
            ChannelSums(count, tuple(sums), tuple(squares)),
        )
    except (OSError, ValueError, KeyError):
        return None


def _make(config: DataConfig, cache_dir: Path) -> CacheEntry:
    from sweeper.data.decoder import decode  # numpy
    from sweeper.data.fingerprint import content_digest

    inputs, targets = decode(config)
    folder = _folder(config, cache_dir)
    entry = CacheEntry(
        folder.with_suffix(".partial"),
        inputs.shape,
        int(targets.max()) + 1,
        content_digest(inputs, targets),
        ChannelSums.of(inputs),
    )
    for leftover in (folder, entry.folder):
        shutil.rmtree(leftover, ignore_errors=True)
    entry.folder.mkdir(parents=True)
    with replace_file(entry.inputs) as aside:
        inputs.tofile(aside)
    with replace_file(entry.targets) as aside:
        targets.tofile(aside)
    with replace_file(entry.folder / "meta.json", sync_folder=True) as aside:
        aside.write_text(_meta(config, entry))
    os.replace(entry.folder, folder)
    whole = _read(folder)
    assert whole is not None
    return whole


def _meta(config: DataConfig, entry: CacheEntry) -> str:
    meta = {
        "name": config.name,
        "params": dict(config.params),
        "shape": entry.shape,
        "n_classes": entry.n_classes,
        "sha256": entry.digest,
        "sums": asdict(entry.sums),
        "mean": entry.sums.mean(),
        "std": entry.sums.std(),
    }
    return json.dumps(meta) + "\n"
