"""Every launcher keeps these rules, whatever its scheduler; here, a small one behind programs."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from sweeper.commands.doctor.jobs import check_submissions
from sweeper.config.cluster import OWN_KEYS, ClusterSpec
from sweeper.config.reader import load_study
from sweeper.config.scalars import field_types
from sweeper.config.study import StudySpec
from sweeper.errors import LauncherError, SpecError, UncertainJobError
from sweeper.launchers.base import LAUNCHERS, Launcher, by_launcher
from sweeper.launchers.request import Request, build_request
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths
from tests.support.fake_schedulers import FAKES, FakeScheduler

STUDY = """
name: digits_9
data: {name: digits}
model: {architecture: mlp}
storage: postgresql+psycopg://db/sweeps
tracking: {uri: "http://mlflow:5000"}
"""


class Site:
    """A study to submit, and one scheduler."""

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.launcher: Launcher = LAUNCHERS[name]
        self.scheduler: FakeScheduler = FAKES[name](folder / "bin", monkeypatch)
        self.file = folder / "digits.yaml"
        self.file.write_text(STUDY)
        self.root = folder / "mlruns"
        self.paths = RunPaths(self.root, "digits_9")

    @property
    def spec(self) -> StudySpec:
        return load_study(self.file)

    def request(self) -> Request:
        return build_request(self.spec, self.scheduler.options(), root=self.root)

    def submit(self) -> Submission:
        self.launcher.submit(self.request(), lambda text: None)
        [submission] = self.submissions()
        return submission

    def submissions(self) -> list[Submission]:
        return read_submissions(self.paths, lambda damage: pytest.fail(str(damage)))

    def cancel(self) -> list[str]:
        cancellations = self.launcher.cancel(self.submissions(), self.paths)
        begun = [line for each in cancellations for line in each.begin()]
        return begun + [line for each in cancellations for line in each.finish(0.0, pytest.fail)]


@pytest.fixture(params=sorted(LAUNCHERS))
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(request.param, tmp_path, monkeypatch)


def test_the_study_file_names_every_launcher_and_no_other() -> None:
    literal, _none = get_args(get_args(field_types(ClusterSpec)["to"])[0])
    assert set(get_args(literal)) == set(LAUNCHERS) == set(OWN_KEYS) == set(FAKES)


def test_showing_asks_nobody_and_writes_nothing(site: Site) -> None:
    text = "\n".join(site.launcher.show(site.request()))
    assert f"sweeper-{'digits-9' if site.launcher.name == 'kubernetes' else 'digits_9'}-" in text
    assert site.scheduler.calls() == []
    assert not site.root.exists()


def test_jobs_that_were_taken_are_noted_and_found_again(site: Site) -> None:
    said = site.launcher.submit(site.request(), lambda text: None)
    [submission] = site.submissions()
    assert said.startswith(f"submitted 2 agents {'as' if submission.job == '17' else 'to'} ")
    assert submission.to == site.launcher.name
    assert submission.job is not None
    assert f" {submission.job}" in said
    assert site.launcher.find(submission) == submission.job
    assert site.paths.job_script(submission.name).exists()


def test_what_the_scheduler_has_not_is_not_found(site: Site) -> None:
    site.submit()
    other = Submission.new("digits_9", site.launcher.name)
    assert site.launcher.find(other) is None


def test_a_queue_shows_the_jobs_of_these_submissions_alone_or_is_none(site: Site) -> None:
    submission = site.submit()
    other = Submission.new("digits_9", site.launcher.name)
    shown, shown_of_other = (site.launcher.queue([each]) for each in (submission, other))
    if shown is None:
        assert shown_of_other is None
    else:
        assert [job.name for job in shown] == [submission.job_name]
        assert shown_of_other == []


def test_a_refusal_leaves_no_trace(site: Site) -> None:
    site.scheduler.refuses()
    with pytest.raises(LauncherError) as caught:
        site.submit()
    assert not isinstance(caught.value, UncertainJobError)
    assert site.submissions() == []


def test_a_scheduler_that_is_not_installed_is_told_with_the_way_out(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="--dry-run"):
        site.submit()
    assert site.submissions() == []


def test_of_an_answer_that_got_lost_a_trace_stays_by_which_the_jobs_are_found(
    site: Site,
) -> None:
    site.scheduler.answers_too_late()
    with pytest.raises(UncertainJobError, match=f"`sweeper doctor {site.file}` looks for"):
        site.submit()
    [submission] = site.submissions()
    assert submission.job is None
    site.scheduler.is_away()
    [finding] = check_submissions(site.paths)
    assert f"with `{site.launcher.list_command}`, then remove the folder" in finding.advice
    assert finding.mend is None
    site.scheduler.works()
    [finding] = check_submissions(site.paths)
    assert finding.mend is not None
    finding.mend()
    [noted] = site.submissions()
    assert noted.job == site.launcher.find(submission)
    assert noted.job is not None


def test_cancelled_jobs_are_gone_and_waited_for_no_more(site: Site) -> None:
    submission = site.submit()
    assert submission.job_name.replace("_", "-") in site.scheduler.jobs().replace("_", "-")
    assert site.cancel()
    assert site.scheduler.jobs() == ""
    assert site.submissions() == []
    assert site.paths.job_script(submission.name).exists()


def test_jobs_that_have_ended_are_waited_for_no_more_either(site: Site) -> None:
    site.submit()
    site.scheduler.ends_all()
    assert len(site.cancel()) == 1
    assert site.submissions() == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda site: site.launcher.find(site.submissions()[0]),
        lambda site: site.cancel(),
    ],
)
def test_a_scheduler_that_is_away_is_told_and_nothing_is_forgotten(
    site: Site, ask: Callable[[Site], object]
) -> None:
    site.submit()
    site.scheduler.is_away()
    with pytest.raises(LauncherError, match="squeue: Unable|kubectl (get|delete): ended with 1"):
        ask(site)
    assert len(site.submissions()) == 1


def test_words_of_other_schedulers_are_refused_before_it_is_asked(site: Site) -> None:
    [key, *_] = [keys[0] for name, keys in OWN_KEYS.items() if name != site.launcher.name]
    options = site.scheduler.options(**{key: "x"})
    with pytest.raises(SpecError, match=f"{site.launcher.name} has no word for `{key}`"):
        build_request(site.spec, options, root=site.root)


def test_submissions_are_told_apart_by_scheduler(site: Site) -> None:
    mixed = [Submission(name, "a", name, 0.0) for name in ("slurm", "kubernetes", "slurm")]
    own = [each for each in mixed if each.to == site.launcher.name]
    assert (site.launcher, own) in by_launcher(mixed)
    assert by_launcher(own) == [(site.launcher, own)]
