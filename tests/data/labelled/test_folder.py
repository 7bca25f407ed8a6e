"""Folders of files, as rows."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.config.file_pattern import FilePattern
from sweeper.data.labelled import folder_rows
from sweeper.data.labelled.folder import list_folder
from sweeper.data.labelled.folder_rows import FolderRows
from sweeper.errors import DataError

DIGITS = FilePattern.of("{digit}_{speaker}.wav")


def write(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def read(root: Path, pattern: FilePattern | None = None) -> dict[str, list[Any]]:
    rows = FolderRows(list_folder(root, [".wav"]), pattern)
    names = rows.column_names()
    pieces = list(rows.pieces(names))
    return {
        name: [value for piece in pieces for value in piece.columns[name].to_pylist()]
        for name in names
    }


def refusal(root: Path, pattern: FilePattern | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(root, pattern)
    return str(caught.value)


def test_a_file_is_of_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    write(tmp_path, "no/b.wav", "no/sub/a.wav", "NA/x.WAV", "no-one/c.wav", "yes/1.wav")
    assert read(tmp_path) == {
        "file": ["NA/x.WAV", "no/b.wav", "no/sub/a.wav", "no-one/c.wav", "yes/1.wav"],
        "label": ["NA", "no", "no", "no-one", "yes"],
    }


def test_a_pattern_names_the_columns(tmp_path: Path) -> None:
    write(tmp_path, "3_theo.wav", "10_lucas.wav")
    assert read(tmp_path, DIGITS) == {
        "file": ["10_lucas.wav", "3_theo.wav"], "digit": ["10", "3"], "speaker": ["lucas", "theo"],
    }  # fmt: skip


def test_the_order_is_not_that_in_which_a_disk_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, *(f"{label}/{take}.wav" for label in "cab" for take in range(12)))
    files = read(tmp_path)["file"]
    walk = os.walk

    def reversed_walk(*args: Any, **options: Any) -> Any:
        for place, folders, names in walk(*args, **options):
            folders.sort(reverse=True)
            yield place, folders, sorted(names, reverse=True)

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert read(tmp_path)["file"] == files == sorted(files)


def test_hidden_files_are_none_and_others_are_listed(tmp_path: Path) -> None:
    write(tmp_path, "a/1.wav", "a/._1.wav", ".git/a/2.wav", "README.md", "a/list.txt")
    folder = list_folder(tmp_path, [".wav"])
    assert folder.files == ["a/1.wav"]
    assert folder.others == ["README.md", "a/list.txt"]


def test_linked_folders_are_looked_into_but_not_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/1.wav", "clips/a/1.wav")
    (tmp_path / "clips/b").symlink_to(tmp_path / "elsewhere")
    assert read(tmp_path / "clips")["file"] == ["a/1.wav", "b/1.wav"]
    (tmp_path / "clips/a/again").symlink_to(tmp_path / "clips")
    message = refusal(tmp_path / "clips")
    assert message == f"{tmp_path}/clips/a/again: leads back to {tmp_path}/clips; remove the link"


def test_folders_that_are_linked_in_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a/1.wav", "b/1.wav")
    (tmp_path / "a/to").symlink_to(tmp_path / "b")
    (tmp_path / "b/fro").symlink_to(tmp_path / "a")
    place = r"(a/to/fro: leads back to .*/a|b/fro/to: leads back to .*/b)"
    assert re.fullmatch(f"{tmp_path}/{place}; remove the link", refusal(tmp_path))


def test_pieces_name_the_file_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_rows, "_BLOCK_ROWS", 2)
    write(tmp_path, *(f"{take}_theo.wav" for take in range(5)))
    pieces = list(FolderRows(list_folder(tmp_path, [".wav"]), DIGITS).pieces(["digit"]))
    assert [list(piece.rows) for piece in pieces] == [[1, 2], [3, 4], [5]]
    assert pieces[1].place(1, "digit") == f"{tmp_path}/3_theo.wav: column 'digit'"
    rest = pieces[1].without(np.array([True, False]))
    assert rest.place(0, "digit") == f"{tmp_path}/3_theo.wav: column 'digit'"
    assert list(rest.columns) == ["digit"]


def test_what_the_rows_cannot_be_made_of_is_told_with_the_file(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt")
    assert refusal(tmp_path) == (
        f"{tmp_path}: has no file that ends in .wav, but notes.txt; name another folder "
        "by data.path"
    )
    write(tmp_path, "1_theo.wav", "1-theo.wav")
    assert refusal(tmp_path) == (
        f"{tmp_path}/1-theo.wav: lies in no folder of its own, which would be its class; move it "
        "into one, or say by data.pattern what its name means"
    )
    assert refusal(tmp_path, DIGITS) == (
        f"{tmp_path}/1-theo.wav: does not fit data.pattern '{{digit}}_{{speaker}}.wav'; move it "
        "elsewhere, or give another pattern"
    )
    (tmp_path / "1-theo.wav").rename(tmp_path / "0_theo_1.wav")
    assert refusal(tmp_path, DIGITS) == (
        f"{tmp_path}/0_theo_1.wav: data.pattern '{{digit}}_{{speaker}}.wav' fits in two ways: "
        "digit may be '0' or '0_theo'; rename the file, or give another pattern"
    )


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    (tmp_path / "a.wav").symlink_to(tmp_path / "gone")
    assert refusal(tmp_path) == f"{tmp_path}/a.wav: is no file, or a link to none; remove it"
    (tmp_path / "a.wav").unlink()
    (tmp_path / os.fsdecode(b"\xff.wav")).write_bytes(b"")
    assert refusal(tmp_path) == "'\\udcff.wav': the name of the file is not UTF-8; rename it"
    assert (
        refusal(tmp_path / "nowhere")
        == f"{tmp_path}/nowhere: cannot be read: No such file or directory"
    )
