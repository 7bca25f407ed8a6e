from pathlib import Path

import pytest

from tests.support.sweep_studies import PRUNED, reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    """Two complete trials and a pruned one, all of them sent; the goal is reached."""
    sweep = begin_sweep(tmp_path, trials=3)
    sweep.run(reports(0.5, 0.75))
    sweep.run(reports(0.5, 0.625, 0.875))
    sweep.run(PRUNED)
    sweep.send()
    return sweep
