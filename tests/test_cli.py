from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeper.cli import app
from sweeper.config.cluster import ClusterSpec

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
