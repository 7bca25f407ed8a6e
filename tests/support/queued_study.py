"""A study that was submitted to Slurm, and has not begun."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sweeper.commands.cancel import cancel_study
from sweeper.commands.submit import submit_study
from sweeper.config.cluster import ClusterSpec
from sweeper.config.reader import load_study
from sweeper.config.study import StudySpec
from sweeper.launchers.request import build_request
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths
from tests.support.slurm_programs import SlurmPrograms

TEXT = "data: {name: digits}\nmodel: {architecture: mlp}\n"


class Site:
    """The study file ``small.yaml``, and a Slurm of small programs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm = SlurmPrograms(folder / "bin", monkeypatch)
        self.root = folder / "mlruns"
        self.paths = RunPaths(self.root, "small")
        self.file = folder / "small.yaml"
        self.file.write_text(TEXT)
        self.notes: list[str] = []

    @property
    def spec(self) -> StudySpec:
        return load_study(self.file)

    def write(self, **changes: object) -> Submission:
        """What a submission an hour ago has left behind."""
        submission = replace(Submission("3f2a9c1b", "small", "slurm", 0.0, job="17"), **changes)  # type: ignore[arg-type]
        path = self.paths.submission(submission.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(submission)))
        return submission

    def damage(self) -> None:
        path = self.paths.submission("damaged")
        path.parent.mkdir(parents=True)
        path.write_text("{")

    def show_jobs(self, *lines: str) -> None:
        self.slurm.does("squeue", "".join(f'echo "{line}"\n' for line in lines))

    def submit(self) -> None:
        request = build_request(self.spec, ClusterSpec(to="slurm"), root=self.root)
        submit_study(request, is_dry=False, note=pytest.fail)

    def cancel(self) -> list[str]:
        return cancel_study(self.spec, self.root, self.notes.append)
