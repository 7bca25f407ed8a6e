"""A disk that fills up in the middle of a study: a small tmpfs as its folder."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from tests.support.small_disk import small_disk
from tests.support.sweep import Sweep, kill_group, wait_until

pytestmark = pytest.mark.slow

SIZE = "24m"
TRIALS = 12
STUDY = f"""
budget: {{trials: {TRIALS}}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model: {{architecture: mlp, width: {{choices: [16, 64]}}}}
train: {{epochs: 40, learning_rate: {{low: 1e-4, high: 1e-1, log: true}}}}
run: {{workers: 2}}
tracking: {{log_models: best}}
"""


class Disk:
    """A file system of a few megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room, also none that is given back meanwhile."""
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def clear(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "small", SIZE) as folder:
        yield Disk(folder)


def write(disk: Disk) -> Sweep:
    sweep = Sweep(disk.folder)
    sweep.write(STUDY)
    return sweep


def finished(sweep: Sweep) -> list[FrozenTrial]:
    return [trial for trial in sweep.study().trials() if trial.state.is_finished()]


def test_what_was_there_is_intact_and_the_study_goes_on_when_there_is_room(disk: Disk) -> None:
    sweep = write(disk)
    agent = sweep.start()
    try:
        wait_until(lambda: sweep.paths.events(2).exists())
        disk.fill()

        def has_ended() -> bool:
            disk.fill()
            return agent.poll() is not None

        wait_until(has_ended)
        output, _ = agent.communicate()
    finally:
        kill_group(agent)
    assert agent.returncode == 1, output
    assert "No space left on device" in output
    assert "Traceback" not in output, output
    assert "Trying again for 60 s" in output
    last = output.splitlines()[-1]
    assert "What it held before is intact: make room" in last
    assert "then the same command goes on" in last

    before = finished(sweep)
    assert before, "it was full before a trial had finished"
    disk.clear()
    assert finished(sweep) == before
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert finished(sweep)[: len(before)] == before
    sweep.assert_truth(finished=TRIALS)
    assert all(len(sweep.epochs(number)) == 40 for number in range(TRIALS))


@pytest.mark.gate
def test_a_command_bears_it_if_there_is_room_again_soon(disk: Disk) -> None:
    sweep = write(disk)
    agent = sweep.start()
    try:
        wait_until(lambda: sweep.paths.events(2).exists())
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            disk.fill()
            time.sleep(0.2)
        disk.clear()
        output, _ = agent.communicate(timeout=120)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert "Trying again for 60 s" in output
    assert "disk and storage work again" in output
    assert "Traceback" not in output, output
    sweep.assert_truth(finished=TRIALS)
    assert all(len(sweep.epochs(number)) == 40 for number in range(TRIALS))
