"""optuna-dashboard's page on a study's storage, as an application in this process."""

from typing import Any

from sweeper.errors import StudyError
from sweeper.study.study import SweepStudy


def build_dashboard(study: SweepStudy) -> Any:
    """The page, as a WSGI application; it asks nobody for a password.

    Raises:
        StudyError: If optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as exc:
        raise StudyError(f"--dashboard needs `pip install 'sweeper[dashboard]'`: {exc}") from exc
    return wsgi(study.storage)


def dashboard_place(study: SweepStudy) -> str:
    """Where the study is on that page."""
    return f"/dashboard/studies/{study.study_id}"
