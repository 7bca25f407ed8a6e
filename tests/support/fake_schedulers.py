"""Small schedulers behind programs called as the real ones' commands, first on the PATH."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from sweeper.config.cluster import ClusterSpec, parse_options
from tests.support.slurm_programs import SlurmPrograms


class Kubectl:
    """A program of that name, first on the PATH, in the place of the real one.

    Its context is ``lab``, its namespace ``sweeps``.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        self.does("echo done")

    def does(self, script: str) -> None:
        program = self._folder / "kubectl"
        program.write_text(
            "#!/bin/sh\nif [ $1 = config ]; then echo lab; echo sweeps; exit; fi\n"
            f'echo "$@" >>{self._folder}/words\n{script}\n'
        )
        program.chmod(0o755)

    def calls(self) -> list[str]:
        words = self._folder / "words"
        return words.read_text().splitlines() if words.exists() else []


class FakeScheduler(Protocol):
    """One that takes jobs, shows them and lets go of them, until it is told to do otherwise."""

    def options(self, **more: Any) -> ClusterSpec:
        """What it needs to be told of the agents."""

    def refuses(self) -> None:
        """It answers, and takes nothing."""

    def answers_too_late(self) -> None:
        """It has taken the jobs, and its answer is lost."""

    def is_away(self) -> None:
        """Its commands are here, and it does not answer."""

    def works(self) -> None:
        """It is as it was at first, with the jobs that it has."""

    def ends_all(self) -> None:
        """It has no jobs any more."""

    def jobs(self) -> str:
        """What it has, as text."""

    def calls(self) -> list[str]:
        """How its commands were called."""


class FakeSlurm:
    """A queue in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._programs = SlurmPrograms(folder, monkeypatch)
        self._queue = folder / "queue"
        self._queue.touch()
        self.works()

    def options(self, **more: Any) -> ClusterSpec:
        return parse_options({"to": "slurm", "jobs": 2, **more})

    def works(self) -> None:
        self._programs.does("sbatch", f"{self._take}\necho 17")
        self._programs.does("squeue", f"cat {self._queue}")
        self._programs.does("scancel", f": >{self._queue}")

    @property
    def _take(self) -> str:
        return (
            "for script; do :; done\n"
            "name=$(sed -n 's/^#SBATCH --job-name=//p' \"$script\")\n"
            f'echo "17_0|$name|PENDING|Priority" >>{self._queue}'
        )

    def refuses(self) -> None:
        self._programs.does("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1")

    def answers_too_late(self) -> None:
        self._programs.does("sbatch", f"{self._take}\necho 'Socket timed out' >&2; exit 1")

    def is_away(self) -> None:
        for command in ("sbatch", "squeue", "scancel"):
            self._programs.does(command, "echo 'Unable to contact slurm controller' >&2; exit 1")

    def ends_all(self) -> None:
        self._queue.write_text("")

    def jobs(self) -> str:
        return self._queue.read_text()

    def calls(self) -> list[str]:
        return [call for name in ("sbatch", "squeue") for call in self._programs.calls(name)]


class FakeKubernetes:
    """A cluster that holds the manifests which it was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._kubectl = Kubectl(folder, monkeypatch)
        self._objects = folder / "objects"
        self._objects.touch()
        self.works()

    def options(self, **more: Any) -> ClusterSpec:
        needed = {"image": "registry.example.com/sweeper:1", "cpus": 1, "mem": "1G"}
        return parse_options({"to": "kubernetes", "jobs": 2, **needed, **more})

    def works(self) -> None:
        self._answers(f"cat >>{self._objects}; echo job.batch/a created")

    def _answers(self, to_apply: str) -> None:
        self._kubectl.does(
            f"case $* in\n*' apply '*) {to_apply} ;;\n"
            # The last words name the objects; each begins with its kind.
            f"*' get '*) for name; do :; done; grep -o \"name: ${{name#*/}}$\" {self._objects};"
            " exit 0 ;;\n"
            f"*' delete '*) [ ! -s {self._objects} ] || echo job deleted; : >{self._objects} ;;\n"
            "esac"
        )

    def refuses(self) -> None:
        self._answers("echo 'Error from server (Forbidden): jobs is forbidden' >&2; exit 1")

    def answers_too_late(self) -> None:
        self._answers(f"cat >>{self._objects}; echo 'unexpected EOF' >&2; exit 1")

    def is_away(self) -> None:
        self._kubectl.does("echo 'Unable to connect to the server: EOF' >&2; exit 1")

    def ends_all(self) -> None:
        self._objects.write_text("")

    def jobs(self) -> str:
        return self._objects.read_text()

    def calls(self) -> list[str]:
        return self._kubectl.calls()


#: By the scheduler's name.
FAKES: dict[str, Callable[[Path, pytest.MonkeyPatch], FakeScheduler]] = {
    "slurm": FakeSlurm,
    "kubernetes": FakeKubernetes,
}
