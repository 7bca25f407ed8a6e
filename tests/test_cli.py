import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeper.cli import app
from sweeper.config.cluster import ClusterSpec
from sweeper.config.render import render_study
from sweeper.errors import SpecError
from sweeper.paths import RunPaths
from tests.support.sweep_studies import begin

#: They are mappings and lists of mappings, for which a command line has no form.
IN_FILES_ALONE = {"node_selector", "tolerations", "priority_class"}


def test_every_key_of_a_cluster_is_an_option_of_submit() -> None:
    shown = CliRunner().invoke(app, ["submit", "--help"], env={"COLUMNS": "200"}).stdout
    names = {field.name for field in fields(ClusterSpec)} - IN_FILES_ALONE
    assert [name for name in names if f"--{name.replace('_', '-')}" not in shown] == []


def test_options_of_submit_reach_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("data: {name: digits}\nmodel: {architecture: mlp}\n")
    words = [
        "--to",
        "slurm",
        "--nodes",
        "3",
        "--setup",
        "one",
        "--setup",
        "two",
        "--sbatch",
        "x=1",
    ]
    done = CliRunner().invoke(app, ["submit", "a.yaml", *words, "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "\n#SBATCH --array=0-2\n" in done.stdout
    assert "\n#SBATCH --x=1\n" in done.stdout
    assert "\none\ntwo\n" in done.stdout


@pytest.mark.parametrize(
    "command",
    ["check", "run", "status", "submit", "cancel", "sync", "doctor", "verify", "ui"],
)
def test_each_command_on_a_study_lays_the_command_line_over_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("data: {name: digits}\nmodel: {architecture: mlp}\n")
    done = CliRunner().invoke(app, [command, "a.yaml", "seed=x", "--name", "a b"])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).splitlines() == [
        "command line: name: must be up to 100 letters, digits, '.', '_' or '-', a letter or "
        "digit first, got 'a b'",
        "command line: seed: must be a whole number, got 'x'",
    ]


def test_a_job_is_given_what_was_laid_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("data: {name: digits}\nmodel: {architecture: mlp}\n")
    words = ["train.l1={low: 1e-7, high: 1, log: true}", "~seed", "--name", "b"]
    done = CliRunner().invoke(
        app, ["submit", "a.yaml", "seed=3", *words[:1], *words[2:], "--to", "slurm", "--dry-run"]
    )
    assert done.exit_code == 0, done.output
    assert "#SBATCH --job-name=sweeper-b-" in done.stdout
    assert (
        " -m sweeper run a.yaml seed=3 'train.l1={low: 1e-7, high: 1, log: true}' name=b &\n"
        in (done.stdout)
    )


@pytest.mark.parametrize("command", ["sync", "doctor"])
def test_nothing_is_laid_over_what_a_folder_says(tmp_path: Path, command: str) -> None:
    for words in (["seed=3"], ["--name", "b"]):
        done = CliRunner().invoke(app, [command, str(tmp_path), *words])
        assert done.exit_code == 2
        assert "nothing is laid over that" in done.output


def test_a_shell_completes_with_what_python_m_sweeper_prints(tmp_path: Path) -> None:
    sweeper = [sys.executable, "-m", "sweeper"]
    shown = [*sweeper, "--show-completion"]
    # The shell is whose process asks; two commands, as one alone would take the shell's place.
    ask_for = ["bash", "-c", '"$@"; exit $?', "bash", *shown]
    script = subprocess.run(ask_for, capture_output=True, text=True, check=True).stdout
    command = tmp_path / "sweeper"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweeper "$@"\n')
    command.chmod(0o755)
    function = "$(complete -p sweeper | grep -o '_[a-z_]*')"
    ask = f"COMP_WORDS=(sweeper sta); COMP_CWORD=1; {function} sweeper"
    completed = subprocess.run(
        ["bash", "-c", f'{script}\n{ask}\necho "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert completed.stdout == "status\n", completed.stderr


@pytest.mark.gate  # a whole command
def test_a_check_that_is_told_to_end_says_so_with_its_own_exit_code(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        f"import os\n\ndef load():\n    os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
    )
    study = tmp_path / "s.yaml"
    study.write_text("data: {name: 'own:load'}\nmodel: {architecture: mlp}\n")
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "check", study],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (4, "stopped by SIGTERM\n")


def test_csv_is_printed_alone(tmp_path: Path) -> None:
    for other in ("--json", "--watch"):
        done = CliRunner().invoke(app, ["status", "a.yaml", "--csv", other])
        assert done.exit_code == 2
        assert f"leave {other} out" in done.output


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_study_that_has_begun_here_may_be_called_by_its_name(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begin(tmp_path)
    resolved = RunPaths(tmp_path / "mlruns", "small").resolved_spec
    resolved.write_text("name: small\ndata: {name: digits}\nmodel: {architecture: mlp}\n")
    assert CliRunner().invoke(app, [command, "small"]).exit_code == 0
    absent = CliRunner().invoke(app, [command, "other"])
    assert str(absent.exception) == "other: no such file; `sweeper init other` writes one"
    Path("small").write_text("nothing")  # a file of that name comes first
    assert "a study file is a mapping" in str(
        CliRunner().invoke(app, [command, "small"]).exception
    )


@pytest.mark.parametrize(
    "server",
    [
        "storage: postgresql://h/d",
        "run: {object_store: s3://bucket/of/others}",
        "tracking: {uri: http://127.0.0.1:9}",
    ],
)
@pytest.mark.parametrize("command", ["status", "run", "ui"])
def test_no_server_is_asked_that_a_study_called_by_its_name_alone_names(
    command: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = RunPaths(tmp_path / "mlruns", "small").resolved_spec
    resolved.parent.mkdir(parents=True)
    text = "name: small\ndata: {name: digits}\nmodel: {architecture: mlp}\n"
    resolved.write_text(text + server)
    message = str(CliRunner().invoke(app, [command, "small"]).exception)
    assert "no server that it names is asked" in message
    assert "name your study file instead" in message


def test_what_takes_a_folder_takes_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = begin(tmp_path)
    text = render_study(study.spec).replace("storage: auto", "storage: sqlite:///elsewhere.db")
    study.paths.resolved_spec.write_text(text)
    done = CliRunner().invoke(app, ["sync", "small"])
    assert "as a folder may come from anybody, no server that it names is asked" in done.output


def test_verify_takes_one_trial_or_so_many() -> None:
    done = CliRunner().invoke(app, ["verify", "a.yaml", "--trial", "7", "--n", "2"])
    assert done.exit_code == 2
    assert "--trial: names one trial, and --n asks for more" in done.output
