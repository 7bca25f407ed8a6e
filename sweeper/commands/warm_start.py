"""What a study is to begin with of an earlier one: read from its storage, or from MLflow."""

from pathlib import Path

from sweeper.commands.prepare import placed
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError, SweeperError
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.study.source_study import read_source_study
from sweeper.study.source_trials import Source, fit_trials
from sweeper.study.warm_start import WarmStart


def read_warm_start(spec: StudySpec, root: Path) -> WarmStart:
    """What fits a study that has a ``warm_start`` and has not begun.

    Raises:
        SpecError: If there is nothing of that name, or nothing of it fits.
        StudyError: If the storage of the earlier study cannot be used.
        TrackerError: If MLflow cannot be used.
    """
    try:
        return fit_trials(spec, _read_source(spec, root))
    except SpecError:
        raise
    except SweeperError as exc:
        exc.args = (placed(spec, str(exc), "warm_start.from"),)
        raise


def _read_source(spec: StudySpec, root: Path) -> Source:
    assert spec.warm_start is not None
    if not spec.warm_start.experiment:
        return read_source_study(spec, root)
    from sweeper.tracking.source_experiment import read_source_experiment  # loads MLflow

    return read_source_experiment(spec, RunPaths(root, spec.name))


def preview_warm_start(spec: StudySpec, root: Path) -> WarmStart | None:
    """What a study has begun with, else what it would begin with now; None if with nothing."""
    if spec.warm_start is None:
        return None
    begun = load_study_from_storage(spec, RunPaths(root, spec.name))
    kept = begun.sampler.warm_start if begun else None
    return kept or read_warm_start(spec, root)
