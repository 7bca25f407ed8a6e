"""What a claim pushed at one time, and where that lies below a trial in the object store."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Self

from sweeper.config.names import Sha256
from sweeper.config.records import read_record

_MANIFEST = re.compile(r"(?P<claim>[0-9]{6,18})/(?P<push>[0-9]{6,18})\.json")
_CLAIM = re.compile(r"(?P<claim>[0-9]{6,18})/")


@dataclass(frozen=True)
class Content:
    """One file as it was pushed."""

    sha256: Sha256
    size: int


@dataclass(frozen=True)
class Manifest:
    """What belongs together.

    Attributes:
        claim: Number of the claim that pushed it.
        push: Its number among those of that claim.
        files: Path below the trial's folder -> what it holds.
    """

    claim: int
    push: int
    files: Mapping[str, Content]

    @classmethod
    def parse(cls, claim: int, push: int, text: bytes) -> Self:
        """What :meth:`render` made.

        Raises:
            ValueError: If it is torn, or foreign, or names files outside the trial's folder.
        """
        try:
            record: dict[str, Any] = json.loads(text)
            files = {name: read_record(Content, content) for name, content in record.items()}
        except (ValueError, AttributeError, RecursionError) as exc:
            raise ValueError("is no manifest") from exc
        if not all(map(_is_safe, files)):
            raise ValueError("names files outside the trial's folder")
        return cls(claim, push, files)

    def render(self) -> bytes:
        """Its text; the numbers are in its key."""
        return json.dumps({name: asdict(content) for name, content in self.files.items()}).encode()

    def key(self, content: Content) -> str:
        """Where a file of it lies below the trial."""
        return f"{self.claim:06d}/{content.sha256}"


def manifest_key(claim: int, push: int) -> str:
    """Where a manifest lies below its trial."""
    return f"{claim:06d}/{push:06d}.json"


def manifests_among(keys: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Claim and push of each manifest among what lies below a trial."""
    for key in keys:
        found = _MANIFEST.fullmatch(key)
        if found and key == manifest_key(int(found["claim"]), int(found["push"])):
            yield int(found["claim"]), int(found["push"])


def claim_of(key: str) -> int | None:
    """Number of the claim that pushed what lies there; None if none did."""
    found = _CLAIM.match(key)
    return int(found["claim"]) if found else None


def digest(file: BinaryIO) -> Content:
    """Of a file from its start, where it stands again then."""
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return Content(sha256, size)


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    is_below = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return is_below and name == str(path) and "\0" not in name
