"""Files of trials in an object store, where a node finds what another node left.

    <url>/<study>/<key>/0042/000003/5f2c...e1    content, named by its SHA-256
    <url>/<study>/<key>/0042/000003/000007.json  manifest: what the third claim pushed the seventh
                                                 time

The number of the claim is the fencing number. Nothing that stands is ever overwritten, and each
claim writes below its own number alone, so a node that lost its trial cannot touch what the next
one pushed. A manifest is written last and names files with size and SHA-256: what it says is there
as a whole, or it does not count.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sweeper.durable import Step, durable
from sweeper.errors import DamagedPushError, StoreError, StudyError
from sweeper.paths import trial_folder, trial_number
from sweeper.study.storage.manifest import (
    Manifest,
    claim_of,
    digest,
    manifest_key,
    manifests_among,
)
from sweeper.text import redacted

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger("sweeper")

_CHUNK = 2**22
#: The driver that each kind of URL needs where fsspec does not bring it, and what we know of.
_EXTRAS = {"s3": "sweeper[s3]"}


class ObjectStore:
    """The files of one study's trials. It connects when it is first used.

    Every method raises :class:`~sweeper.errors.StoreError` if the store cannot be used.

    Args:
        url: As ``run.object_store`` has it.
        study: Name of the study.
        key: Of the study in its storage; another study of that name has another one.
    """

    def __init__(self, url: str, *, study: str, key: str) -> None:
        self._url = url
        self._below = f"{study}/{key}"

    @cached_property
    def _place(self) -> "tuple[AbstractFileSystem, str]":
        system, root = _connect(self._url)
        return system, f"{root}/{self._below}"

    def numbers(self) -> set[int]:
        """The trials of which something is there."""
        with _store_errors(self._url):
            found = {trial_number(key.partition("/")[0]) for key in self._list("")}
            return {number for number in found if number is not None}

    def push(
        self,
        number: int,
        claim: int,
        files: Mapping[str, BinaryIO],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Leave these files of a trial; what it left before goes once they are whole.

        Nothing happens if a later claim has pushed, or the files stand there already. One process
        at a time pushes under a claim.

        Args:
            number: Of the trial.
            claim: Number of the claim.
            files: Path below the trial's folder -> the file, open at its start. It must not
                change meanwhile.
            is_wanted: Asked again and again; once it says no, what stood there before stays.
        """
        with _store_errors(self._url):
            there = self._list(trial_folder(number))
            found = sorted(manifests_among(there), reverse=True)
            if found and found[0][0] > claim:
                return
            contents = {name: digest(file) for name, file in files.items()}
            newest = self._read(number, found[0], there) if found else None
            before = newest.files if newest and newest.claim == claim else {}
            if before == contents:
                return
            last = max((push for by, push in found if by == claim), default=0)
            manifest = Manifest(claim, last + 1, contents)
            new = {n: file for n, file in files.items() if contents[n] not in before.values()}
            if self._write(number, manifest, new, is_wanted):
                self._tidy(number, manifest, there)

    def _write(
        self,
        number: int,
        manifest: Manifest,
        new: Mapping[str, BinaryIO],
        is_wanted: Callable[[], bool],
    ) -> bool:
        """Write those files of a manifest that do not stand there, then the manifest."""
        system, root = self._place
        for name, file in new.items():
            if not is_wanted():
                return False
            key = f"{root}/{trial_folder(number)}/{manifest.key(manifest.files[name])}"
            with durable(Step.OBJECT_STORE_CONTENT), system.open(key, "wb") as target:
                while is_wanted() and (chunk := file.read(_CHUNK)):
                    target.write(chunk)
        if not is_wanted():
            return False
        key = f"{root}/{trial_folder(number)}/{manifest_key(manifest.claim, manifest.push)}"
        with durable(Step.OBJECT_STORE_MANIFEST):
            system.pipe_file(key, manifest.render())
        return True

    def _tidy(self, number: int, manifest: Manifest, there: Mapping[str, int]) -> None:
        """Remove what was there before a manifest was written, and is not its own."""
        own = {manifest.key(content) for content in manifest.files.values()}
        system, root = self._place
        stale = [
            f"{root}/{trial_folder(number)}/{key}"
            for key in there
            if (claim := claim_of(key)) is not None and claim <= manifest.claim
            if key not in own
        ]
        with suppress(FileNotFoundError):  # another claim tidies up as well
            if stale:
                system.rm(stale)

    def newest(self, number: int) -> Manifest | None:
        """What was pushed by the latest claim of which all is there, or None.

        Raises:
            StoreError: Also if that claim pushes just now; look again.
        """
        with _store_errors(self._url):
            there = self._list(trial_folder(number))
            found = sorted(manifests_among(there), reverse=True)
            manifests = (self._read(number, name, there) for name in found)
            return next((manifest for manifest in manifests if manifest), None)

    def _read(
        self, number: int, name: tuple[int, int], there: Mapping[str, int]
    ) -> Manifest | None:
        """A manifest; None if it is torn, or what it names is not all there.

        Raises:
            FileNotFoundError: If it is gone meanwhile, as its claim has pushed again.
        """
        system, root = self._place
        key = f"{root}/{trial_folder(number)}/{manifest_key(*name)}"
        try:
            manifest = Manifest.parse(*name, system.cat_file(key))
        except ValueError as exc:
            log.warning("%s: %s; what it names is not used", key, exc)
            return None
        parts = manifest.files.values()
        is_whole = all(there.get(manifest.key(part)) == part.size for part in parts)
        return manifest if is_whole else None

    def fetch(self, number: int, manifest: Manifest, name: str, path: Path) -> None:
        """Write one file of a manifest to ``path``, which nobody reads yet.

        Raises:
            DamagedPushError: If it is not what the manifest says.
            StoreError: Also if it is gone, as a later manifest replaced it.
        """
        content = manifest.files[name]
        with _store_errors(self._url):
            system, root = self._place
            key = f"{root}/{trial_folder(number)}/{manifest.key(content)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            with (
                durable(Step.OBJECT_STORE_FETCH),
                system.open(key, "rb") as source,
                path.open("wb+") as target,
            ):
                shutil.copyfileobj(source, target, _CHUNK)
                target.flush()
                os.fsync(target.fileno())
                target.seek(0)
                is_true = digest(target) == content
            if not is_true:
                raise DamagedPushError(f"{self._url}: {key} is not what was pushed; delete it")

    def remove(self, number: int) -> None:
        """Remove all that is there of a trial."""
        with _store_errors(self._url), suppress(FileNotFoundError):
            system, root = self._place
            system.rm(f"{root}/{trial_folder(number)}", recursive=True)

    def _list(self, below: str) -> dict[str, int]:
        """Path below that place -> size, of everything there."""
        system, root = self._place
        folder = f"{root}/{below}".rstrip("/")
        _see_folder(self._url)
        system.invalidate_cache()
        found = system.find(folder, detail=True)
        return {path.removeprefix(f"{folder}/"): info["size"] for path, info in found.items()}


def check_object_store(url: str) -> None:
    """See that files can be left there, by doing so.

    Raises:
        StudyError: If the driver is not installed, or the store does not take them.
    """
    try:
        with _store_errors(url):
            system, root = _connect(url)
            _see_folder(url)
            trace = f"{root}/sweeper-{uuid.uuid4().hex}"
            system.touch(trace)
            system.rm_file(trace)
    except StoreError as exc:
        raise StudyError(
            f"{exc}; see that the bucket or folder is there and the environment has what its "
            "driver needs, or leave run.object_store out"
        ) from exc


def _connect(url: str) -> "tuple[AbstractFileSystem, str]":
    import fsspec  # not at the top: it takes a tenth of a second, and most need no object store

    scheme = url.partition("://")[0]
    options = {"auto_mkdir": True} if scheme == "file" else {}
    try:
        system, root = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as exc:
        advice = f"`pip install '{_EXTRAS[scheme]}'`" if scheme in _EXTRAS else str(exc)
        raise StudyError(f"{url}: no driver for {scheme}:// is installed: {advice}") from exc
    return system, root.rstrip("/")


def _see_folder(url: str) -> None:
    """See that the folder of a URL of files is there; else fsspec takes it for an empty one."""
    scheme, _, folder = url.partition("://")
    if scheme == "file":
        os.listdir(folder)


@contextmanager
def _store_errors(url: str) -> Iterator[None]:
    """Whatever a driver raises as a :class:`StoreError`."""
    try:
        yield
    except (StoreError, StudyError):
        raise
    except Exception as exc:
        reason = redacted(f"{type(exc).__name__}: {exc}").partition("\n")[0]
        raise StoreError(f"{url}: the object store cannot be used: {reason}") from exc
