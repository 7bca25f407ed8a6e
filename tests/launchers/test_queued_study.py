"""Studies that have not begun: status, doctor and cancel see their jobs in the queue."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from sweeper.commands.cancel import cancel_study
from sweeper.commands.doctor.examine import examine_study
from sweeper.commands.doctor.jobs import check_submissions
from sweeper.commands.status import show_status, watch_status
from sweeper.commands.submit import submit_study
from sweeper.config import StudySpec, load_study
from sweeper.config.cluster import ClusterSpec
from sweeper.errors import LauncherError, StoreError, StudyError, TrackerError
from sweeper.launchers.slurm.queue import StudyQueue
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from tests.support.slurm_programs import SlurmPrograms

TEXT = "data: {name: digits}\nmodel: {architecture: mlp}\n"


class Site:
    """The study file ``small.yaml``, and a Slurm of small programs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slurm = SlurmPrograms(folder / "bin", monkeypatch)
        self.root = folder / "mlruns"
        self.paths = RunPaths(self.root, "small")
        self.file = folder / "small.yaml"
        self.file.write_text(TEXT)
        self.notes: list[str] = []

    @property
    def spec(self) -> StudySpec:
        return load_study(self.file)

    def write(self, **changes: object) -> Submission:
        """What a submission an hour ago has left behind."""
        submission = replace(Submission("3f2a9c1b", "small", "slurm", 0.0, job="17"), **changes)  # type: ignore[arg-type]
        path = self.paths.submission(submission.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(submission)))
        return submission

    def damage(self) -> None:
        path = self.paths.submission("damaged")
        path.parent.mkdir(parents=True)
        path.write_text("{")

    def show_jobs(self, *lines: str) -> None:
        self.slurm.does("squeue", "".join(f'echo "{line}"\n' for line in lines))

    def submit(self) -> None:
        submit_study(
            self.spec,
            ClusterSpec(to="slurm"),
            root=self.root,
            begin=None,
            every=None,
            is_dry=False,
            note=pytest.fail,
        )

    def cancel(self) -> list[str]:
        return cancel_study(self.spec, self.root, self.notes.append)


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


def test_what_every_job_would_refuse_is_refused_before(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = f"40 28 0:50 / {site.file.parent} rw - nfs4 fs1:/home rw,local_lock=none\n"
    monkeypatch.setattr("sweeper.launchers.slurm.launcher.read_mountinfo", lambda: mounts)
    with pytest.raises(TrackerError, match="SQLite needs a disk of this machine"):
        site.submit()
    assert site.slurm.calls("sbatch") == []


def test_cancel_looks_again_until_the_queue_is_empty(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was cancelled has put the next of its schedule into the queue."""
    monkeypatch.setattr("sweeper.commands.cancel._QUEUE_POLL_S", 0.01)
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


def test_a_folder_that_cannot_be_written_is_no_bug(site: Site) -> None:
    site.paths.study_dir.mkdir(parents=True)
    site.paths.submissions_dir.write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written .*; nothing was submitted. Make room"):
        site.submit()
    assert site.slurm.calls("sbatch") == []
