import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.commands.doctor.examine import examine_study
from sweeper.commands.doctor.jobs import check_submissions
from sweeper.commands.status import show_status
from sweeper.study.create import create_study
from tests.support.queued_study import TEXT, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_a_damaged_file_is_told_and_the_rest_is_seen(site: Site) -> None:
    site.write()
    site.damage()
    site.show_jobs("17_0|sweeper-small-3f2a9c1b|PENDING|Priority")
    shown = show_status(site.spec, site.root, as_json=False)
    assert "17_0 pending (Priority)" in shown
    assert "cannot be read" in shown
    [finding] = check_submissions(site.paths)
    assert finding.advice.startswith("look for its jobs, named *-damaged")
    assert finding.mend is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../../.."},
        {"name": "0a1b2c3d"},
        {"study": "another"},
        {"to": "cron"},
        {"begun_s": "now"},
        {"more": 1},
    ],
)
def test_a_file_that_names_other_jobs_or_folders_is_damaged(
    site: Site, change: Mapping[str, object]
) -> None:
    path = site.paths.submission(site.write(job=None).name)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    [finding] = check_submissions(site.paths)
    assert finding.where == str(path)
    assert finding.what.startswith("cannot be read")
    assert finding.mend is None


def test_doctor_takes_logs_for_a_proof_and_removes_none(site: Site) -> None:
    submission = site.write(job=None)
    log = site.paths.submission(submission.name).parent / "17_0.log"
    log.write_text("Traceback")
    [finding] = check_submissions(site.paths)
    assert finding.what.endswith("it did, as 17")
    assert finding.mend is not None
    finding.mend()
    assert list(check_submissions(site.paths)) == []
    assert log.exists()


def test_a_study_that_runs_elsewhere_is_not_said_to_wait(site: Site) -> None:
    site.write()
    site.show_jobs("17_0|sweeper-small-3f2a9c1b|RUNNING|None")
    shown: list[str] = []

    def examine() -> bool:
        return examine_study(
            site.file, root=site.root, fix=False, show=shown.append, note=pytest.fail
        )

    assert examine()
    assert shown == ["small: it was submitted, and has not begun"]
    site.file.write_text(f"{TEXT}storage: sqlite:///{site.root}/elsewhere.db\n")
    create_study(site.spec, site.paths)
    assert examine()
    assert shown[1].startswith("small: it has begun in its storage, and nothing of it lies here")
