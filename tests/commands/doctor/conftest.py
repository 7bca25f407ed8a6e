import shutil
from pathlib import Path

import pytest

from tests.support.sweep_studies import AGENT, PRUNED, reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep, open_sweep


@pytest.fixture(scope="session")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two complete trials and a pruned one, all of them sent; the goal is reached."""
    folder = tmp_path_factory.mktemp("sent")
    sweep = begin_sweep(folder, trials=3)
    sweep.run(reports(0.5, 0.75))
    sweep.run(reports(0.5, 0.625, 0.875))
    sweep.run(PRUNED)
    sweep.send()
    return folder


@pytest.fixture
def sweep(sent: Path, tmp_path: Path) -> TrackedSweep:
    """That study as a command leaves it, in a folder of this test's own."""
    shutil.copytree(sent, tmp_path, dirs_exist_ok=True)
    sweep = open_sweep(tmp_path)
    sweep.study.leases.renew(
        AGENT
    )  # its agent is one of this machine's, and not of another folder
    return sweep
