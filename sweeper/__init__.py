"""A sweep harness for torch: one study file, Optuna inside, MLflow outside, nothing lost.

import sweeper

study = sweeper.load("studies/digits.yaml")
result = sweeper.run(study)
result.best, result.trials()
"""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sweeper.errors import ExitCode, SweeperError, TrialInterrupted, TrialPruned

if TYPE_CHECKING:
    from sweeper.study.result import Result

__version__ = "0.1.0"
__all__ = ["Study", "SweeperError", "TrialInterrupted", "TrialPruned", "load", "run"]


class Study:
    """What to search and how to train: a study file, or the same from Python.

    Args:
        **keys: Those of a study file, ``name`` among them; sections are mappings. A function may
            stand where the file has ``package.module:function``.

    Raises:
        SpecError: With every problem, one a line.

    Attributes:
        spec: Read and valid.
    """

    def __init__(self, **keys: Any) -> None:
        from sweeper.config.from_python import study_from_mapping

        self.spec, self._functions = study_from_mapping(keys)

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> Self:
        """A study of these keys, as the arguments of the class are."""
        return cls(**keys)

    @classmethod
    def _from_file(cls, path: Path | str, overrides: Sequence[str]) -> Self:
        from sweeper.config.problems import Origin
        from sweeper.config.reader import load_study

        study = cls.__new__(cls)
        study.spec = load_study(path, overrides, origin=Origin("overrides"))
        study._functions = {}
        return study

    @property
    def name(self) -> str:
        """As in Optuna and MLflow."""
        return self.spec.name

    def __repr__(self) -> str:
        from sweeper.config.summary import describe

        return f"<sweeper.Study {describe(self.spec)}>"

    def _repr_html_(self) -> str:
        from sweeper.config.summary import describe_as_html

        return describe_as_html(self.spec)


def load(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """Read and validate a study file.

    Args:
        path: Of the file.
        overrides: What is laid over it, as on the command line of ``sweeper run``:
            ``["train.epochs=3", "name=longer"]``.

    Raises:
        SpecError: With every problem, one a line.
    """
    return Study._from_file(path, overrides)


def run(study: Study | Path | str, *, root: Path | str = "mlruns") -> "Result":
    """Work on a study until its goal is reached, as ``sweeper run`` does.

    Called again with the same study, it goes on. In a thread other than the main one, signals
    do not reach it: ``sweeper cancel`` stops it.

    Args:
        study: As :class:`Study` or :func:`load` gives it, or the file.
        root: Where studies, caches and the default MLflow store lie.

    Returns:
        ``result.best`` is the best trial, ``result.trials()`` all of them as a DataFrame,
        ``result.plot`` draws them, and ``result.exit_code`` says whether the goal was reached.

    Raises:
        SweeperError: If the study cannot be worked on, or a study that imports this call would
            begin it.
        KeyboardInterrupt: On Ctrl-C, or a notebook's button to interrupt, once all trials that
            ran are put back.
    """
    _import_progress_bars()
    from sweeper.commands.run import run_study
    from sweeper.config.in_memory import remember
    from sweeper.config.references import refuse_within_import

    refuse_within_import()
    study = study if isinstance(study, Study) else load(study)
    remember(study._functions)
    result = run_study(study.spec, root=Path(root))
    if result.exit_code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return result


def _import_progress_bars() -> None:
    """Import tqdm, which Optuna does, without its warning of what its bars lack in a notebook.

    None of them is shown.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("tqdm.auto")
