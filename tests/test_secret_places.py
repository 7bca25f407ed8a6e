"""Wherever text leaves a process, secrets stay behind, in whatever form they come."""

import logging
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sweeper import cli
from sweeper.commands.followed_trials import Tally, TrialRow
from sweeper.commands.screen import open_screen
from sweeper.config.problems import Origin, Problems
from sweeper.errors import LauncherError, SpecError, SweeperError
from sweeper.launchers.kubernetes import kubectl
from sweeper.launchers.slurm import commands as slurm
from sweeper.study.storage.backend import store_errors
from sweeper.text import log_to_stderr
from sweeper.tracking.client import artifact_errors, tracker_errors
from sweeper.trial import Objective, TrialState
from sweeper.workers.devices import Placement
from sweeper.workers.process import WorkerProcess
from sweeper.workers.protocol import AgentArgs, WorkerArgs
from tests.support.secret_texts import all_forms
from tests.support.slurm_programs import SlurmPrograms
from tests.support.sweep_studies import begin_in_memory, last_outcome, raises, run_trial

SECRET = "hunter2"
TEXTS = all_forms(SECRET)
#: All at once, each on lines of its own.
TEXT = "\n".join(f"{number}: x\n{text}" for number, text in enumerate(TEXTS))
ACCURACY = Objective(("val_accuracy",), ("maximize",))


def assert_untold(said: str) -> None:
    assert SECRET not in said, [line for line in said.splitlines() if SECRET in line]
    assert "***" in said


def test_there_are_forty_forms() -> None:
    assert len(TEXTS) >= 40
    assert all(SECRET in text for text in TEXTS)


def test_what_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    cli._note(TEXT)
    cli._show(TEXT)
    said = capsys.readouterr()
    assert_untold(said.err)
    assert_untold(said.out)


def test_what_a_study_shows_while_it_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TERM", "xterm"), ("COLUMNS", "2000")):
        monkeypatch.setenv(name, value)
    for is_terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", is_terminal)
        screen = open_screen(ACCURACY)
        screen.note(TEXT)
        screen.ended(TrialRow(0, TrialState.FAILED, ended_s=1.0, cause=TEXT), Tally(0, 1))
        screen.close()
        said = capsys.readouterr()
        assert_untold(said.out)
        assert SECRET not in said.err


def test_what_is_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    log_to_stderr("%(levelname)s %(message)s", logging.INFO)
    try:
        raise ValueError(TEXT)
    except ValueError:
        logging.getLogger("sweeper").exception("%s", TEXT)
    assert_untold(capsys.readouterr().err)


@pytest.mark.parametrize("text", TEXTS)
def test_errors_of_stores(text: str) -> None:
    uri = f"postgresql://ann:{SECRET}@host/db"
    for ours in (store_errors(), tracker_errors(uri), artifact_errors(uri)):
        with pytest.raises(SweeperError) as caught, ours:
            raise OSError(text)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("text", TEXTS)
def test_what_schedulers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    programs = SlurmPrograms(tmp_path / "bin", monkeypatch)
    (tmp_path / "said").write_text(text)
    (tmp_path / "bin" / "kubectl").symlink_to(tmp_path / "bin" / "sbatch")
    programs.does("sbatch", f"cat {tmp_path}/said >&2; exit 1")
    calls: list[Callable[[], object]] = [
        lambda: slurm.sbatch(["sbatch", "job.sh"], []),
        lambda: kubectl.delete("job", kubectl.Place()),
    ]
    for call in calls:
        with pytest.raises(LauncherError) as caught:
            call()
        assert_untold(str(caught.value))


@pytest.mark.parametrize("text", TEXTS)
def test_problems_of_a_study_file(text: str) -> None:
    problems = Problems()
    problems.add(Origin("s.yaml", 1), "", f"must be a word, got {text}")
    with pytest.raises(SpecError) as caught:
        problems.raise_if_any()
    assert_untold(str(caught.value))


@pytest.mark.parametrize("text", TEXTS)
def test_a_trial_that_fails(tmp_path: Path, text: str) -> None:
    study = begin_in_memory(tmp_path)
    run_trial(study, raises(ValueError(text)))
    outcome = last_outcome(study)
    assert_untold(f"{outcome.cause}\n{outcome.details}")
    assert SECRET not in study.paths.events(0).read_text()
    assert SECRET not in str(study.storage.get_all_trials(study.study_id))


class Echo:
    """In the place of the server of workers: one that says the text, and dies."""

    def start(self, *, stdin: int, output: int, n_threads: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["echo", TEXT], stdin=stdin, stdout=output)


def test_the_last_lines_of_a_worker(tmp_path: Path) -> None:
    told: dict[str, Any] = {field.name: "w" for field in fields(AgentArgs)}  # which nobody reads
    args = WorkerArgs.new(AgentArgs(**told), Placement("cpu", 1, 1), name="w")
    log = tmp_path / "log"
    worker = WorkerProcess(args, log, Echo())  # type: ignore[arg-type]
    assert_untold(worker.cause_of_death().details)
