"""A worker dies while it takes several trials at once, or records what they report."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeper.durable import CRASH_VARIABLE, Step
from sweeper.paths import RunPaths
from sweeper.study.presence import Presence
from sweeper.study.recovery import reclaim_orphans
from sweeper.study.reports import TurnReports
from sweeper.study.running_trial import RunningTrial, draw_together
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics, TrialState
from tests.support.sweep_studies import AGENT, begin, epoch, killed, log, reports, run_all

FOUR: dict[str, Any] = {"budget": {"trials": 4}}


def at_work(study: SweepStudy, n: int = 3) -> None:
    """Claims, draws and starts so many trials, which report an epoch each, in one turn."""
    study.leases.renew(AGENT)
    turn = TurnReports(study)
    trials = [
        RunningTrial(study, claimed, is_stopping=lambda: False, ledger=TimeLedger())
        for claimed in study.queue.claim(AGENT, "dying", n=n)
    ]
    draw_together(trials)
    for trial in trials:
        trial.reports = turn
        trial.draw()
        trial.start(None, None, params={}, tags={})
    metrics = epoch(1, 0.5)
    for trial in trials:
        trial.announce(metrics)
    turn.record()
    for trial in trials:
        trial.report(metrics)


def die_at_work(folder: Path, changes: dict[str, Any]) -> None:
    study = begin(folder, **changes)
    Presence(study.paths.presence_dir, "dying")
    at_work(study)


def assert_whole(study: SweepStudy) -> None:
    """Others go on with what was left, to the goal exactly, and no epoch is told twice."""
    reclaim_orphans(study, "killed")
    run_all(study, reports(0.5, 0.6))
    assert study.counts() == {TrialState.COMPLETE: 4}
    for trial in study.trials():
        assert trial.intermediate_values == {1: 0.5, 2: 0.6}
        epochs = [event for event in log(study, trial.number) if isinstance(event, EpochMetrics)]
        assert [each.epoch for each in epochs] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "step",
    [Step.CLAIM, Step.DRAW, Step.EVENT, pytest.param(Step.REPORT, marks=pytest.mark.gate)],
)
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_kill_on_either_side_of_a_step_loses_none_of_them(
    storage: str, step: Step, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**FOUR, "run": {"workers": 1}}
    if storage == "sqlite":
        changes["storage"] = f"sqlite:///{tmp_path}/s.db"
    armed = tmp_path / "armed"
    armed.mkdir()
    study = begin(tmp_path, **changes)
    (armed / f"{step}.{moment}").touch()
    with monkeypatch.context() as patch:
        patch.setenv(CRASH_VARIABLE, str(armed))
        killed(die_at_work, tmp_path, changes)
    assert not list(armed.iterdir())
    assert_whole(study)


def test_of_what_is_written_together_to_a_journal_any_part_will_do(tmp_path: Path) -> None:
    """The machine loses power in the middle of a write."""
    folders = [tmp_path / name for name in ("begun", "claimed", "reported")]
    study = begin(folders[0], **FOUR)
    n_begun = len(lines_of(study))
    shutil.copytree(folders[0], folders[1])
    shutil.copytree(folders[1], folders[2])
    at_work(begin(folders[2], **FOUR))
    lines = lines_of(begin(folders[2], **FOUR))
    n_claimed = n_begun + 1 + 3 * (2 + 2)  # the lease; owner and state, sampler and rate
    assert len(lines) == n_claimed + 3
    for n_kept in range(n_begun + 1, len(lines)):
        folder = tmp_path / str(n_kept)
        shutil.copytree(folders[1] if n_kept < n_claimed else folders[2], folder)
        torn = lines[n_kept][: len(lines[n_kept]) // 2]
        journal = RunPaths(folder / "mlruns", "small").journal
        journal.write_bytes(b"".join(lines[:n_kept]) + torn)
        study = begin(folder, **FOUR)
        study.leases.renew(AGENT)  # whose folder is a copy
        assert_whole(study)


def lines_of(study: SweepStudy) -> list[bytes]:
    return study.paths.journal.read_bytes().splitlines(keepends=True)
