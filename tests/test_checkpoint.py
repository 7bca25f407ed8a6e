from pathlib import Path

import pytest
import torch

from sweeper.checkpoint import load_checkpoint, save_checkpoint
from sweeper.errors import TrainingError


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


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None


def test_a_leftover_of_a_crash_while_writing_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    path.with_name("checkpoint.pt.tmp").write_bytes(b"half a fi")
    assert load_checkpoint(path) == {"epoch": 1}
    save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 2}


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign"])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"a": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "foreign": b"hello"}[damage])
    with pytest.raises(TrainingError, match="cannot be read.*delete the file to start") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(path)


def test_a_disk_that_refuses_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    path.with_name("checkpoint.pt.tmp").mkdir()
    with pytest.raises(TrainingError, match=r"cannot be written: Is a directory"):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 1}
