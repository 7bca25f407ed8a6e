from pathlib import Path

import pytest

from sweeper.commands.status import show_status
from sweeper.errors import LauncherError, StudyError
from tests.support.queued_study import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_cancel_looks_again_until_the_queue_is_empty(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was cancelled has put the next of its schedule into the queue."""
    monkeypatch.setattr("sweeper.launchers.slurm.cancellation._POLL_S", 0.01)
    submission = site.write()
    script = site.paths.job_script(submission.name)
    script.write_text("")
    looks = site.root / "looks"
    site.slurm.does(
        "squeue",
        f"echo >>{looks}; case $(wc -l <{looks}) in\n"
        "1 | 2) echo '17_0|sweeper-small-3f2a9c1b|RUNNING|None' ;;\n"
        "3) echo '18_0|sweeper-small-3f2a9c1b-99|PENDING|BeginTime' ;;\nesac",
    )
    assert site.cancel()[0] == "2 Slurm jobs cancelled, 0 of them waiting"
    assert site.slurm.calls("scancel") == ["--quiet 17_0", "--quiet 18_0"]
    assert script.exists()
    with pytest.raises(StudyError, match="has not begun"):
        show_status(site.spec, site.root, as_json=False)


def test_a_scheduler_that_is_absent_does_not_keep_the_other_from_being_asked(site: Site) -> None:
    site.write()
    site.write(name="7b1d", to="kubernetes", job="sweeper-small-7b1d")
    site.damage()
    site.slurm.does("kubectl", "echo 'Unable to connect to the server: EOF' >&2; exit 1")
    site.slurm.does("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(LauncherError) as caught:
        site.cancel()
    damaged, kubectl, squeue = str(caught.value).splitlines()
    assert "damaged/submission.json: cannot be read" in damaged
    assert kubectl.startswith("kubectl delete: ended with 1")
    assert squeue.startswith("squeue: Unable to contact")
    assert site.paths.submission("7b1d").exists()


def test_jobs_that_slurm_does_not_end_are_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.launchers.slurm.cancellation._POLL_S", 0.01)
    monkeypatch.setattr("sweeper.launchers.slurm.cancellation._ENDING_S", 0.05)
    submission = site.write()
    site.show_jobs("17_0|sweeper-small-3f2a9c1b|COMPLETING|None")
    with pytest.raises(LauncherError, match=r"squeue: still shows 17_0 completing \(None\); canc"):
        site.cancel()
    assert site.slurm.calls("scancel") == []
    assert site.paths.submission(submission.name).exists()
