import json
from pathlib import Path

import pytest

from sweeper.commands.status import show_status, watch_status
from sweeper.errors import StudyError
from sweeper.launchers.queue import StudyQueue
from tests.support.queued_study import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_slurm_is_asked_seldom_however_often_one_looks(site: Site) -> None:
    now = [0.0]
    queue = StudyQueue(site.paths, now=lambda: now[0])
    site.write()
    site.show_jobs("17_0|sweeper-small-3f2a9c1b|PENDING|Priority")
    for now[0] in (0.0, 2.0, 29.0, 30.0, 32.0):
        queue.look()
    assert len(site.slurm.calls("squeue")) == 2
    assert [job.id for job in queue.jobs] == ["17_0"]


def test_jobs_that_all_died_are_not_waited_for(site: Site) -> None:
    site.write()
    shown = show_status(site.spec, site.root, as_json=False)
    assert f"queue    no job is left\n         what they printed lies in {site.root}" in shown
    with pytest.raises(StudyError, match="no job of it is left in Slurm's queue; what they print"):
        watch_status(site.spec, site.root, as_json=True)


def test_a_queue_that_cannot_be_seen_is_no_empty_queue(site: Site) -> None:
    site.write()
    site.slurm.does("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert "queue    cannot be seen: squeue: Unable" in show_status(
        site.spec, site.root, as_json=False
    )


def test_a_study_that_waits_is_shown_as_json_too(site: Site) -> None:
    site.write()
    site.show_jobs("17_0|sweeper-small-3f2a9c1b|PENDING|Priority")
    shown = json.loads(show_status(site.spec, site.root, as_json=True))
    assert (shown["study"], shown["goal"]) == ("small", None)
    assert shown["jobs"] == [{"to": "slurm", "job": "17"}]
    assert [(job["id"], job["state"]) for job in shown["queue"]] == [("17_0", "PENDING")]


def test_jobs_without_a_queue_to_look_into_are_never_taken_for_over(site: Site) -> None:
    site.write(to="kubernetes", job="sweeper-small-3f2a9c1b")
    queue = StudyQueue(site.paths)
    queue.look()
    assert queue.is_submitted
    assert not queue.is_over
    assert (queue.jobs, queue.schedulers, queue.problems) == ([], [], [])
    site.write(name="7b1d")
    queue = StudyQueue(site.paths)
    queue.look()
    assert queue.schedulers == ["Slurm"]
    assert not queue.is_over
