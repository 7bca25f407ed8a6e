"""What ``sweeper doctor`` says of a study."""

import re
import sqlite3
from contextlib import closing

from sweeper.commands.doctor.examine import examine_study
from tests.support.tracked_sweeps import TrackedSweep

HEALTHY = "small: healthy: 3 trials, 5 epochs and 3 MLflow runs agree"


def examine(sweep: TrackedSweep, *, fix: bool = False) -> tuple[bool, list[str]]:
    lines: list[str] = []
    is_well = examine_study(
        sweep.file, root=sweep.root, fix=fix, show=lines.append, note=lambda text: None
    )
    return is_well, lines


def assert_found_and_mended(sweep: TrackedSweep, *findings: str, healthy: str = HEALTHY) -> None:
    """The findings, each as a regular expression, are all that is found; then nothing is."""
    is_well, lines = examine(sweep)
    assert not is_well
    for line, finding in zip(lines[:-1], findings, strict=True):
        assert re.search(finding, line), line
    n_found = f"{len(findings)} finding{'s' * (len(findings) > 1)}"
    assert lines[-1] == f"small: {n_found}; --fix mends {len(findings)}"
    is_well, lines = examine(sweep, fix=True)
    assert is_well, lines
    assert all(line.startswith("mended: ") for line in lines[:-1])
    assert examine(sweep) == (True, [healthy])


def execute(sweep: TrackedSweep, statement: str, *values: object) -> None:
    """Change MLflow's database as its client cannot."""
    with closing(sqlite3.connect(sweep.paths.mlflow_db)) as database, database:
        assert database.execute(statement, values).rowcount > 0


def run_id(sweep: TrackedSweep, number: int) -> str:
    return str(sweep.runs()[number].info.run_id)
