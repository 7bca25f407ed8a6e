from pathlib import Path

import pytest

from sweeper.config.settings import DataConfig
from sweeper.data.built_in.decode import decode
from sweeper.data.built_in.sources import fallback, raw_files


def test_the_root_is_data_root_then_the_environment_then_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = DataConfig(name="mnist", root=str(tmp_path / "given"))
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path / "environment"))
    assert raw_files(given).folder == tmp_path / "given/MNIST/raw"
    assert raw_files(DataConfig(name="mnist")).root == tmp_path / "environment"
    monkeypatch.delenv("SWEEPER_DATA")
    monkeypatch.chdir(tmp_path)
    assert raw_files(DataConfig(name="mnist")).root == tmp_path / "data"
    assert "neither data.root nor $SWEEPER_DATA" in raw_files(DataConfig(name="mnist")).origin


def test_the_fallback_is_the_digits_at_28_by_28() -> None:
    config = fallback(
        DataConfig(name="mnist", root="x", fallback="digits", validation=0.2, batch_size=32)
    )
    assert config == DataConfig(name="digits", validation=0.2, batch_size=32, params={"size": 28})
    (small, _), (large, _) = decode(DataConfig(name="digits")), decode(config)
    assert large.shape == (1797, 1, 28, 28)
    # Pixel 0 of 28 lies at (0 + 0.5) * 8 / 28 - 0.5 < 0, so on the edge: the corner is kept.
    assert (large[:, :, 0, 0] == small[:, :, 0, 0]).all()
    assert large.mean() / 255 == pytest.approx(small.mean() / 255, abs=0.001)
