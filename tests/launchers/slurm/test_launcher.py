from pathlib import Path

import pytest

from sweeper.errors import StoreError, TrackerError
from tests.support.queued_study import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_what_every_job_would_refuse_is_refused_before(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = f"40 28 0:50 / {site.file.parent} rw - nfs4 fs1:/home rw,local_lock=none\n"
    monkeypatch.setattr("sweeper.launchers.slurm.launcher.read_mountinfo", lambda: mounts)
    with pytest.raises(TrackerError, match="SQLite needs a disk of this machine"):
        site.submit()
    assert site.slurm.calls("sbatch") == []


def test_a_folder_that_cannot_be_written_is_no_bug(site: Site) -> None:
    site.paths.study_dir.mkdir(parents=True)
    site.paths.submissions_dir.write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written .*; nothing was submitted. Make room"):
        site.submit()
    assert site.slurm.calls("sbatch") == []
