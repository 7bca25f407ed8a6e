"""Studies of code that trains with somebody else's trainer, slow where a test wants it."""

from pathlib import Path
from typing import NamedTuple

from tests.support.sweep import Sweep
from tests.support.text_files import write_sentences

STUDY = """
objective: {{metric: {metric}, direction: maximize}}
budget: {{trials: {trials}}}
pruner: {{name: {pruner}}}
train:
  function: "own:train"
  epochs: {epochs}
  batch_size: 32
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
run: {{workers: {workers}, device: cpu}}
"""
N_BATCHES = 15  # of an epoch
EPOCHS = 3


class Program(NamedTuple):
    """Code beside this file, as a user has it.

    Attributes:
        name: Of the file.
        metric: That it measures of validation rows.
    """

    name: str
    metric: str

    def text(self) -> str:
        return Path(__file__).with_name(f"{self.name}.py").read_text(encoding="utf-8")

    def write(
        self,
        sweep: Sweep,
        *,
        trials: int = 1,
        pruner: str = "none",
        epochs: int = EPOCHS,
        workers: int = 1,
    ) -> None:
        """The study, its code and its rows, into the sweep's folder."""
        sweep.write(
            STUDY.format(
                metric=self.metric, trials=trials, pruner=pruner, epochs=epochs, workers=workers
            )
        )
        sweep.write_code(self.text())
        write_sentences(sweep.folder / "rows.csv", n_rows=N_BATCHES * 32 * 4 // 3)


LIGHTNING = Program("lightning_program", "val_accuracy")
TRANSFORMERS = Program("transformers_program", "eval_accuracy")
