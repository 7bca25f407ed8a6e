"""What is asked of whoever exports the models of trials; it needs neither torch nor MLflow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sweeper.config.settings import ModelConfig
from sweeper.tracking.program_form import ProgramForm
from sweeper.trial import DataInfo


class ExportError(Exception):
    """A model that cannot be built or exported, and why."""


class ExportKilledError(ExportError):
    """A model whose export was killed, which need not be the model's fault."""


class UnreadableError(Exception):
    """A file that holds no state_dict, and why."""


@dataclass(frozen=True)
class ExportTask:
    """A trial's model to be exported.

    Attributes:
        model: What is built.
        data: What it was trained on.
        weights: File with its state_dict.
        preprocessing: File with what was fitted to the data, if ``data`` names one.
    """

    model: ModelConfig
    data: DataInfo
    weights: Path
    preprocessing: Path


@dataclass(frozen=True)
class Exported:
    """A program that was written.

    Attributes:
        form: What it takes and answers.
        bare: Why it takes samples as its network does, where it was to take rows; else empty.
    """

    form: ProgramForm
    bare: str = ""


class Exporting(Protocol):
    """Builds and exports the models of trials, in this process or in another one."""

    def check(self, weights: Path) -> None:
        """See that a file holds a state_dict.

        Raises:
            UnreadableError: If not.
            OSError: If it cannot be read now.
        """

    def export(self, task: ExportTask, program: Path) -> Exported:
        """Write the program of a trial's model to a file.

        Raises:
            UnreadableError: If there is no state_dict.
            ExportError: If the model cannot be built or exported.
            ExportKilledError: If the exporting was killed.
            OSError: If a file cannot be read or written now.
        """

    def prepare(self, task: ExportTask) -> None:
        """Export a network like that of a trial which still runs, so that :meth:`export` need not.

        That it cannot be exported comes again with the trial's model, and is told then.
        """


class OwnedExporter(Exporting, Protocol):
    """One in a process that whoever has it begins and ends."""

    def begin(self) -> None:
        """Let it begin with what it imports, which takes seconds; a request does it, too."""

    def close(self) -> None:
        """End it, whatever it does; who waits for it gets a RequestRefusedError."""
