"""Programs called as Slurm's commands, first on the PATH: never the machine's own."""

import os
from pathlib import Path

import pytest


class SlurmPrograms:
    """Programs that note how they are called, each by default silent and content."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for command in ("sbatch", "squeue", "scancel"):
            self.does(command, "")

    def does(self, command: str, script: str) -> None:
        program = self._folder / command
        program.write_text(f'#!/bin/sh\necho "{command} $*" >>{self._folder}/calls\n{script}\n')
        program.chmod(0o755)

    def calls(self, command: str) -> list[str]:
        """Its words, of each time that it was called."""
        path = self._folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{command} ")]
