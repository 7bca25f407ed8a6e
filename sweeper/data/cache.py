"""Decoded data sets on disk, ready to be memory-mapped by every worker.

    <cache_dir>/mnist-0123456789abcdef/inputs.bin    uint8 [N, C, H, W]
                                       targets.bin   int64 [N]
                                       meta.json

Other kinds of data have other arrays (:mod:`~sweeper.data.tables.decode`). Only the train split is
decoded. The folder's name carries a digest of what it was made from. It is written under another
name, forced to disk and then renamed, so a folder that exists is whole.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.content import ArrayForm, CacheEntry, Content
from sweeper.data.fingerprint import content_digest
from sweeper.data.kinds import KINDS
from sweeper.durable import replace_file
from sweeper.errors import DataError
from sweeper.locks import FileLock

log = logging.getLogger("sweeper")

#: Raised by one whenever the decoded content or the layout changes.
_FORMAT = 4


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
            folder = _folder(config, cache_dir)
            if (found := _find(folder)) is not None and not _is_intact(found):
                log.warning(
                    "the decoded data in %s are not what was written there, though of the right "
                    "size (a failing disk?); they are decoded anew",
                    entry.folder,
                )
                _make(config, cache_dir, folder)


def open_cache(config: DataConfig, cache_dir: Path) -> CacheEntry:
    """The cache entry of a built-in data set, made first if need be; raises as prepare_data.

    Its content is not read.
    """
    if config.name not in KINDS:
        raise DataError(
            f"data.name: no data set {config.name!r}; there are {', '.join(KINDS)}, and your own "
            "as package.module:function"
        )
    if (entry := _find(_folder(config, cache_dir))) is not None:
        return entry
    with _locked(cache_dir, config.name):
        folder = _folder(config, cache_dir)
        # Another process may have made it while this one waited.
        return _find(folder) or _make(config, cache_dir, folder)


def damaged_entries(cache_dir: Path) -> list[Path]:
    """Folders of data sets whose content is not what was written."""
    folders = [meta.parent for meta in cache_dir.glob("*/meta.json")]
    written = [folder for folder in folders if folder.suffix != ".partial"]
    entries = [entry for folder in written if (entry := _read(folder)) is not None]
    return sorted(entry.folder for entry in entries if not _is_intact(entry))


def _is_intact(entry: CacheEntry) -> bool:
    return entry.is_whole() and _digest(entry) == entry.digest


def _digest(entry: CacheEntry) -> str:
    return content_digest(*map(entry.map, entry.content.arrays))


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


def _find(folder: Path | None) -> CacheEntry | None:
    entry = _read(folder) if folder else None
    return entry if entry is not None and entry.is_whole() else None


def _folder(config: DataConfig, cache_dir: Path) -> Path | None:
    """Of what the files hold as they are now; None where some are not there."""
    made_from = KINDS[config.name].identity(config)
    if made_from is None:
        return None
    key = json.dumps([_FORMAT, config.name, *made_from])
    return cache_dir / f"{config.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _read(folder: Path) -> CacheEntry | None:
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        arrays = {name: ArrayForm(*form) for name, form in meta.pop("arrays").items()}
        return CacheEntry(folder, Content(arrays, meta), meta["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(config: DataConfig, cache_dir: Path, folder: Path | None) -> CacheEntry:
    """Decode the data into ``folder``, told before files are read: they may be replaced then."""
    aside = cache_dir / f"{config.name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    content = KINDS[config.name].write(config, aside)
    digest = _digest(CacheEntry(aside, content, ""))
    meta = {
        "name": config.name,
        "params": dict(config.params),
        "sha256": digest,
        "arrays": content.arrays,
        **content.about,
    }
    with replace_file(aside / "meta.json", sync_folder=True) as path:
        path.write_text(json.dumps(meta) + "\n")
    folder = folder or _folder(config, cache_dir)  # after a download
    assert folder is not None
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(aside, folder)
    whole = _read(folder)
    assert whole is not None
    return whole
