"""``sweeper run`` and :func:`sweeper.run` in this process, with real workers."""

import json
import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import sweeper
from sweeper.commands.run import run_study
from sweeper.config.reader import load_study
from sweeper.errors import ExitCode, SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.workers import forkserver
from tests.support.function_studies import GO_ON, function_spec
from tests.support.sweep import last_json, wait_until

pytestmark = pytest.mark.gate  # each command starts a server that imports torch


def test_a_study_is_run_to_its_goal_with_a_line_a_trial_and_its_file_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "mlruns"
    spec = function_spec(tmp_path, trials=2)
    assert run_study(spec, root=root).exit_code == ExitCode.GOAL_REACHED
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[:3] == [
        "small: 2 trials to finish",
        "sampler random: named in the study file",
        "pruner none: nothing is pruned",
    ]
    for number, line in enumerate(lines[3:5]):
        assert re.match(rf"\[\d/2(, \d+s left)?\] trial {number} complete in \d+s: score ", line)
    assert lines[5] == "small: 2 of 2 trials: 2 complete"
    assert lines[-2:] == [
        f"compare them: sweeper ui {spec.path}",
        f"to go on, raise budget.trials in the file: sweeper run {spec.path}",
    ]
    assert set(shown.err.splitlines()) <= {
        "sending the rest to MLflow; Ctrl-C leaves it to the next command ..."  # if it is busy
    }
    resolved = load_study(RunPaths(root, "small").resolved_spec)
    assert (resolved.ranges(), resolved.budget) == (spec.ranges(), spec.budget)


def test_json_is_a_line_for_each_trial_and_one_for_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_study(function_spec(tmp_path, trials=2), root=tmp_path / "mlruns", as_json=True)
    *trials, study = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(t["trial"], t["state"], t["goal"]) for t in trials] == [
        (0, "complete", 2),
        (1, "complete", 2),
    ]
    assert (study["finished"], study["trials"]) == (2, {"complete": 2})


def test_the_same_command_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "mlruns"
    spec = function_spec(tmp_path, GO_ON)

    def stop() -> None:
        wait_until((tmp_path / "running").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    stopped = run_study(spec, root=root)
    assert stopped.exit_code == ExitCode.STOPPED
    assert f"the same command goes on: sweeper run {spec.path}" in capsys.readouterr().out
    spec = function_spec(tmp_path)
    assert run_study(spec, root=root, as_json=True).exit_code == ExitCode.GOAL_REACHED
    assert last_json(capsys.readouterr().out)["trials"] == {"complete": 1}


def test_a_finished_study_needs_no_code_and_no_process_any_more_but_the_search_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "mlruns"
    spec = function_spec(tmp_path, trials=2)
    assert run_study(spec, root=root).exit_code == ExitCode.GOAL_REACHED
    first = capsys.readouterr().out.splitlines()
    [module] = tmp_path.glob("own_*.py")
    module.write_text("raise RuntimeError('not today')\n")
    monkeypatch.setattr(forkserver, "_WORKER", ["there is no such program"])
    assert run_study(spec, root=root).exit_code == ExitCode.GOAL_REACHED
    assert (
        capsys.readouterr().out.splitlines()
        == first[first.index("small: 2 of 2 trials: 2 complete") :]
    )
    with pytest.raises(StudyError, match=r"train\.x: was .* is"):
        run_study(replace(spec, sections=function_spec(tmp_path, x=[0.5]).sections), root=root)


def test_code_that_cannot_be_imported_costs_no_trial(tmp_path: Path) -> None:
    spec = function_spec(tmp_path)
    [module] = tmp_path.glob("own_*.py")
    module.write_text("raise RuntimeError('not today')\n")
    with pytest.raises(SpecError, match=r"small\.yaml:\d+: train\.function: .*not today"):
        run_study(spec, root=tmp_path / "mlruns")
    assert load_study_from_storage(spec, RunPaths(tmp_path / "mlruns", "small")) is None


def test_python_runs_a_file_as_the_command_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    function_spec(tmp_path, trials=2)
    result = sweeper.run(str(tmp_path / "small.yaml"), root=tmp_path / "mlruns")
    assert result.exit_code == ExitCode.GOAL_REACHED
    table = result.trials()
    assert list(table["state"]) == ["complete"] * 2
    assert result.best is not None
    assert result.best.values["score"] == max(table["score"])
