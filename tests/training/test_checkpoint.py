import logging
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch

from sweeper.errors import StoreError
from sweeper.training.checkpoint import is_whole, load_checkpoint, save_checkpoint


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond ``n_bytes``, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checkpoint.pt"
    save_checkpoint(path, {"a": torch.arange(3), "b": [1, ("x", None)], "c": {"d": 0.5}})
    state = load_checkpoint(path)
    assert state is not None
    assert torch.equal(state.pop("a"), torch.arange(3))
    assert state == {"b": [1, ("x", None)], "c": {"d": 0.5}}
    assert list(path.parent.iterdir()) == [path]


def test_memory_layouts_survive(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c.pt", {"w": weight})
    state = load_checkpoint(tmp_path / "c.pt")
    assert state is not None
    assert state["w"].stride() == weight.stride()


def test_it_is_a_plain_torch_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"w": torch.arange(3)})
    assert torch.equal(torch.load(tmp_path / "c.pt", weights_only=True)["w"], torch.arange(3))


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None


def test_a_leftover_of_a_crash_while_writing_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    path.with_name("checkpoint.pt.tmp").write_bytes(b"half a fi")
    assert load_checkpoint(path) == {"epoch": 1}
    save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 2}
    assert list(tmp_path.iterdir()) == [path]


def damaged(whole: bytes, damage: str) -> bytes:
    flipped = bytearray(whole)
    flipped[whole.index(b"needle")] ^= 1
    return {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "short": whole[:-1],
        "foreign": b"hello",
        "flipped": bytes(flipped),
    }[damage]


@pytest.mark.parametrize("damage", ["empty", "cut", "short", "foreign", "flipped"])
def test_a_damaged_file_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    tensor = torch.frombuffer(bytearray(b"hay needle hay"), dtype=torch.uint8)
    save_checkpoint(path, {"a": tensor})
    assert is_whole(path)
    content = damaged(path.read_bytes(), damage)
    path.write_bytes(content)
    assert not is_whole(path)
    assert load_checkpoint(path) is None
    assert caplog.record_tuples == [
        (
            "sweeper",
            logging.WARNING,
            f"{path}: its checksum is wrong, so it is torn or foreign; it is now "
            "checkpoint.pt.broken, and the trial starts over",
        )
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt.broken"]
    assert (tmp_path / "checkpoint.pt.broken").read_bytes() == content


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": torch.nn.Linear(1, 1)})
    with pytest.raises(UnpicklingError, match="Weights only load failed"):
        load_checkpoint(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"w": torch.arange(5.0), "n": 7})
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert not is_whole(path), position


def test_a_file_that_is_not_there_or_not_readable_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        is_whole(tmp_path / "absent.pt")
    with pytest.raises(IsADirectoryError):
        is_whole(tmp_path)
    with pytest.raises(StoreError, match="the checkpoint cannot be read: Is a directory; mend"):
        load_checkpoint(tmp_path)
    assert tmp_path.exists()


def test_looking_at_the_checksum_loads_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    code = (
        "import sys; from pathlib import Path; from sweeper.training.checkpoint import is_whole; "
        f"assert is_whole(Path({str(path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


STATE: dict[str, Any] = {"w": torch.zeros(20_000), "history": [{"epoch": n} for n in range(50)]}


@pytest.mark.parametrize("room", [0, 1000, 40_000, 80_500])
def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_else(
    tmp_path: Path, room: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    message = rf"{path}: the checkpoint cannot be written: File too large; make room or move"
    with largest_file(room), pytest.raises(StoreError, match=message):
        save_checkpoint(path, STATE)
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written: File exists"):
        save_checkpoint(tmp_path / "file" / "checkpoint.pt", {})


def test_what_is_no_fault_of_the_disk_passes_through(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="[Cc]an't (get|pickle) local"):
        save_checkpoint(tmp_path / "checkpoint.pt", {"function": lambda: None})
    assert list(tmp_path.iterdir()) == []
