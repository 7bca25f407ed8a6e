"""What passed at a commit and how long it took, for ``scripts/test-all``."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CPU_S = "cpu_s"


class Record:
    """A plugin that leaves out what has passed, and appends a line for each test that ends.

    Args:
        path: Of the lines; as JSON: file, test, outcome, wall and CPU seconds.
        is_writer: Whether this process hears of all tests; xdist's workers do not.
    """

    def __init__(self, path: Path, *, is_writer: bool) -> None:
        self._path = path
        self._is_writer = is_writer
        self._begun_s = 0.0
        self._phases: dict[str, list[pytest.TestReport]] = {}

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        passed = {line["test"] for line in read(self._path) if line["outcome"] == "passed"}
        done = [item for item in items if item.nodeid in passed]
        items[:] = [item for item in items if item.nodeid not in passed]
        config.hook.pytest_deselected(items=done)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._begun_s = cpu_s()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[Any]:
        if call.when == "teardown":
            item.user_properties.append((CPU_S, cpu_s() - self._begun_s))
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        phases = self._phases.setdefault(report.nodeid, [])
        phases.append(report)
        if report.when != "teardown" or not self._is_writer:
            return
        outcomes = {phase.outcome for phase in phases}
        line = {
            "file": report.nodeid.partition("::")[0],
            "test": report.nodeid,
            "outcome": next(o for o in ("failed", "skipped", "passed") if o in outcomes),
            "wall_s": sum(phase.duration for phase in phases),
            CPU_S: dict(report.user_properties)[CPU_S],
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        del self._phases[report.nodeid]


def cpu_s() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def read(path: Path) -> list[dict[str, Any]]:
    """The lines written so far."""
    return [json.loads(line) for line in path.open(encoding="utf-8")] if path.exists() else []
