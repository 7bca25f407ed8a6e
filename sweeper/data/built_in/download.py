"""Downloads through torchvision, with an end to the waiting.

torchvision's own downloader waits for ever on a host that accepts and then says nothing. So the
mirrors are probed first, all at once, and a socket that stays silent later ends the download.
"""

import http.client
import os
import queue
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from sweeper.data.built_in.sources import RawFiles
from sweeper.errors import DataError
from sweeper.outage import socket_timeout

#: A download that cannot succeed must end within 15 s: one probe, then at most three silent
#: sockets (torchvision follows redirects, reads, and tries https once more as http).
PROBE_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class _Archive:
    """A packed file; ``path`` is relative to the root, ``urls`` holds one entry a mirror."""

    path: Path
    md5: str
    urls: tuple[str, ...]


def dataset_class(raw: RawFiles) -> Any:
    """The class of ``torchvision.datasets`` that reads ``raw``."""
    return getattr(datasets, raw.source.dataset)


def download(raw: RawFiles) -> None:
    """Bring the files of ``raw`` below its root; each appears there whole or not at all.

    Archives with the right MD5 that lie there already are unpacked without the network.

    Raises:
        DataError: If the root cannot be written, no mirror answers, a checksum is wrong, or the
            sender falls silent.
    """
    if not _is_writable(raw.root):
        raise DataError(_absent(raw, f"{raw.root} cannot be written, so nothing can go there"))
    dataset = dataset_class(raw)
    archives = _archives(dataset, raw)
    wanted = [a for a in archives if not check_integrity(raw.root / a.path, a.md5)]
    if wanted:
        dataset = _with_mirror_first(dataset, _first_to_answer(raw, wanted[0].urls))
    try:
        with socket_timeout(READ_TIMEOUT_S):
            _fetch(raw, dataset, [a.path for a in archives if a not in wanted])
    except Exception as exc:  # of sockets, HTTP, gzip, tar, checksums and disks
        raise DataError(_absent(raw, f"the download failed: {str(exc) or repr(exc)}")) from exc


def _fetch(raw: RawFiles, dataset: Any, present: Sequence[Path]) -> None:
    raw.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=raw.root, prefix=".download-") as name:
        staging = RawFiles(raw.name, Path(name), raw.origin)
        staging.folder.mkdir(parents=True)
        for archive in present:
            shutil.copyfile(raw.root / archive, staging.root / archive)
        dataset(staging.root, train=True, download=True)
        for file in raw.missing():
            os.replace(staging.folder / file, raw.folder / file)


def _archives(dataset: Any, raw: RawFiles) -> list[_Archive]:
    if hasattr(dataset, "mirrors"):
        return [
            _Archive(Path(raw.source.folder, name), md5, tuple(m + name for m in dataset.mirrors))
            for name, md5 in dataset.resources
        ]
    return [_Archive(Path(dataset.filename), dataset.tgz_md5, (dataset.url,))]


def _with_mirror_first(dataset: Any, index: int) -> Any:
    """The class, which tries the mirror of that index before the others."""
    if not hasattr(dataset, "mirrors"):
        return dataset
    mirrors = [dataset.mirrors[index], *dataset.mirrors[:index], *dataset.mirrors[index + 1 :]]
    # Under the same name: torchvision calls the folder after the class.
    return type(dataset.__name__, (dataset,), {"mirrors": mirrors})


def _first_to_answer(raw: RawFiles, urls: Sequence[str]) -> int:
    """Index of the url that sends its first byte first."""
    answers: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
    for index in range(len(urls)):
        # Daemons: a name lookup knows no timeout and must not hold up the end of the process.
        threading.Thread(
            target=lambda i=index: answers.put((i, _probe(urls[i]))), daemon=True
        ).start()
    failures = dict.fromkeys(urls, f"no answer within {PROBE_TIMEOUT_S:g} s")
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    for _ in urls:
        try:
            index, failure = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if not failure:
            return index
        failures[urls[index]] = failure
    reasons = "; ".join(f"{url}: {failure}" for url, failure in failures.items())
    raise DataError(_absent(raw, f"no mirror answers: {reasons}"))


def _probe(url: str) -> str:
    """Why the first byte behind ``url`` is not to be had; empty if it is."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as response:
            return "" if response.read(1) else "an empty answer"
    except urllib.error.HTTPError as exc:
        return f"HTTP {exc.code} {exc.reason}"
    except urllib.error.URLError as exc:
        return str(exc.reason)
    except (OSError, ValueError, http.client.HTTPException) as exc:
        return str(exc) or repr(exc)


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _absent(raw: RawFiles, reason: str) -> str:
    return (
        f"the data set {raw.name!r} is not to be had\n"
        f"  looked in {raw.folder} ({raw.origin}): no {', '.join(raw.missing())}\n"
        f"  {reason}\n"
        f"  ways out: set SWEEPER_DATA or data.root to a folder that holds {raw.source.folder}; "
        "or set `data.fallback: digits`; or use `data.name: digits`"
    )
