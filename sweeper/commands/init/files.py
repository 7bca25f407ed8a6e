"""What the files of a folder are, and what their names spell."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from statistics import quantiles

from sweeper.commands.init.proposal import Key, Kind
from sweeper.config.file_pattern import FilePattern
from sweeper.data.labelled.folder import Folder, list_folder
from sweeper.data.labelled.folder_rows import FolderRows
from sweeper.data.labelled.location import FILE_SUFFIXES
from sweeper.errors import DataError

#: So many files tell what all are.
_MOST_FILES = 500
#: Pictures that are larger are scaled, as a small network on two cores takes long for them.
_LARGEST_SIDE, _SIDE = 96, 64


def rows_of_folder(path: Path) -> tuple[Kind, FolderRows]:
    """The files of a folder as rows, and their kind.

    Raises:
        DataError: If there are no files of a known kind, or neither folders nor their names could
            tell what they are.
    """
    everything = [suffix for suffixes in FILE_SUFFIXES.values() for suffix in suffixes]
    found = list_folder(path, everything)
    ends = Counter(PurePath(name).suffix.lower() for name in found.files)
    kinds: tuple[Kind, ...] = ("audio", "images", "text")
    kind = max(kinds, key=lambda kind: sum(ends[suffix] for suffix in FILE_SUFFIXES[kind]))
    folder = list_folder(path, FILE_SUFFIXES[kind])
    if all("/" in name for name in folder.files):
        return kind, FolderRows(folder)
    return kind, FolderRows(folder, FilePattern.of(_pattern(folder)))


def _pattern(folder: Folder) -> str:
    """What the names of files spell that lie beside each other."""
    names = [PurePath(name) for name in folder.files]
    ends = {name.suffix for name in names}
    for mark in ("_", "-", " "):
        n_parts = {len(name.stem.split(mark)) for name in names}
        if len(n_parts) == 1 and n_parts != {1} and len(ends) == 1 and len(names[0].parts) == 1:
            parts = [f"{{part{number}}}" for number in range(1, n_parts.pop() + 1)]
            return mark.join(parts) + ends.pop()
    raise DataError(
        f"{folder.path}: neither the folders nor the names of the files tell what they are; put "
        "them into a folder for each class, or name them in a file of rows"
    )


def file_keys(kind: Kind, paths: Sequence[Path]) -> list[Key]:
    """What is said of files of that kind.

    Raises:
        DataError: If one cannot be read.
    """
    looks = {"audio": _clip_keys, "images": _picture_keys}
    return looks[kind](paths) if kind in looks else []


def _clip_keys(paths: Sequence[Path]) -> list[Key]:
    from sweeper.data.audio.clips import Clip

    clips = [Clip(path) for path in _sample(paths)]
    rates = Counter(clip.sample_rate for clip in clips)
    seconds = [clip.seconds for clip in clips]
    most = quantiles(seconds, n=100)[-1] if len(seconds) > 1 else seconds[0]
    whose = "clips" if len(clips) == len(paths) else f"{len(clips)} clips"
    return [
        Key("sample_rate", rates.most_common(1)[0][0], "some have another" * (len(rates) > 1)),
        Key("max_seconds", _rounded_up(most), f"{whose} have up to {max(seconds):.3g}"),
    ]


def _picture_keys(paths: Sequence[Path]) -> list[Key]:
    from sweeper.data.images.files import read_size

    sizes = sorted({read_size(path) for path in _sample(paths)})
    spelt = [f"{height} x {width}" for height, width in (sizes[0], sizes[-1])]
    if len(sizes) > 1:
        return [Key("size", _SIDE, f"they are from {spelt[0]} to {spelt[1]}")]
    return [Key("size", _SIDE, f"they are {spelt[0]}")] if max(sizes[0]) > _LARGEST_SIDE else []


def _sample(paths: Sequence[Path]) -> Sequence[Path]:
    """Some of them, from all over."""
    return paths[:: math.ceil(len(paths) / _MOST_FILES)]


def _rounded_up(seconds: float) -> float:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return round(math.ceil(seconds / unit - 1e-9) * unit, 9)
