"""A sweep harness for torch: one study file, Optuna inside, MLflow outside, nothing lost.

import sweeper

study = sweeper.load("studies/digits.yaml")
result = sweeper.run(study)
result.best, result.trials()
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import SweeperError, TrialInterrupted, TrialPruned

if TYPE_CHECKING:
    from sweeper.config.study import StudySpec
    from sweeper.study.result import Result

__version__ = "0.1.0"
__all__ = ["SweeperError", "TrialInterrupted", "TrialPruned", "load", "run"]


def load(path: Path | str, overrides: Sequence[str] = ()) -> "StudySpec":
    """Read and validate a study file.

    Args:
        path: Of the file.
        overrides: What is laid over it, as on the command line of ``sweeper run``:
            ``["train.epochs=3", "name=longer"]``.

    Raises:
        SpecError: With every problem, one a line.
    """
    from sweeper.config.problems import Origin
    from sweeper.config.reader import load_study

    return load_study(path, overrides, origin=Origin("overrides"))


def run(study: "StudySpec | Path | str", *, root: Path | str = "mlruns") -> "Result":
    """Work on a study until its goal is reached, as ``sweeper run`` does.

    Args:
        study: As :func:`load` gives it, or the file.
        root: Where studies, caches and the default MLflow store lie.

    Returns:
        ``result.best`` is the best trial, ``result.trials()`` all of them as a DataFrame, and
        ``result.exit_code`` says whether the goal was reached.

    Raises:
        SweeperError: If the study cannot be worked on.
    """
    from sweeper.commands.run import run_study

    spec = load(study) if isinstance(study, Path | str) else study
    return run_study(spec, root=Path(root))
