import json
import shutil
import time
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.commands.cancel import cancel_study
from sweeper.commands.doctor.jobs import check_submissions
from sweeper.commands.submit import submit_study
from sweeper.config.cluster import parse_options
from sweeper.config.reader import load_study, parse_study
from sweeper.config.study import StudySpec
from sweeper.errors import LauncherError, SpecError, StudyError, UncertainJobError
from sweeper.launchers.request import build_request
from sweeper.launchers.schedule import parse_begin
from sweeper.launchers.submission import Submission, read_submissions
from sweeper.paths import RunPaths
from tests.support.fake_schedulers import Kubectl

TEXT = """
name: digits_9
data: {name: digits}
model: {architecture: mlp}
storage: postgresql+psycopg://db/sweeps
tracking: {uri: "http://mlflow:5000"}
cluster: {to: kubernetes, jobs: 4, cpus: 2, mem: 4G, image: registry.example.com/sweeper:1}
"""


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    path = tmp_path / "digits.yaml"
    path.write_text(TEXT)
    return load_study(path)


def submit(spec: StudySpec, *, is_dry: bool = True, **options: Any) -> list[str]:
    begin, every = options.pop("begin", None), options.pop("every", None)
    note = options.pop("note", pytest.fail)
    root = spec.path.parent / "mlruns"
    request = build_request(spec, parse_options(options), root=root, begin=begin, every=every)
    return submit_study(request, is_dry=is_dry, note=note)


def test_the_cluster_section_becomes_an_indexed_job(spec: StudySpec) -> None:
    [text] = submit(spec, gpus_per_node="1", secret="sweeps", time="2h", array_parallelism=2)
    config, job = yaml.safe_load_all(text)
    assert config["data"] == {"digits_9.yaml": TEXT}
    assert job["kind"] == "Job"
    assert job["metadata"]["name"].startswith("sweeper-digits-9-")
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (4, 2)
    assert job["spec"]["activeDeadlineSeconds"] == 7200
    [agent] = job["spec"]["template"]["spec"]["containers"]
    assert agent["image"] == "registry.example.com/sweeper:1"
    limits = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert agent["resources"]["limits"] == limits
    assert agent["envFrom"] == [{"secretRef": {"name": "sweeps"}}]
    assert not (spec.path.parent / "mlruns").exists(), "a dry run writes nothing"


def test_a_pod_has_the_file_with_all_that_is_laid_under_and_over_it(spec: StudySpec) -> None:
    (spec.path.parent / "base.yaml").write_text(f"train: {{epochs: 3}}{TEXT}")
    spec.path.write_text("defaults: [base.yaml]\ntrain: {l1: 1e-7}\n")
    [text] = submit(load_study(spec.path, ["train.l2=1e-5", "name=other"]))
    config, job = yaml.safe_load_all(text)
    [(file, alone)] = config["data"].items()
    assert file == "other.yaml"
    assert job["metadata"]["name"].startswith("sweeper-other-")
    again = parse_study(alone, Path("other.yaml"))
    assert again.sections["train"] == {"epochs": 3, "l1": 1e-7, "l2": 1e-5}
    assert (again.name, again.storage) == ("other", "postgresql+psycopg://db/sweeps")


def test_pods_go_where_the_cluster_section_says(spec: StudySpec) -> None:
    where = (
        "node_selector: {pool: gpu}, priority_class: low, "
        "tolerations: [{key: gpu, operator: Exists}]"
    )
    spec.path.write_text(TEXT.replace("jobs: 4", f"jobs: 4, array_parallelism: 9, {where}"))
    [text] = submit(load_study(spec.path))
    _, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["priorityClassName"] == "low"
    assert job["spec"]["parallelism"] == 4, "at most nine at a time are all four"


def test_a_schedule_becomes_a_cron_job_in_its_time_zone(spec: StudySpec) -> None:
    [text] = submit(spec, every="1d", begin="02:30", time_zone="Asia/Kolkata")
    _, job = yaml.safe_load_all(text)
    assert (job["kind"], job["spec"]["timeZone"]) == ("CronJob", "Asia/Kolkata")
    minute, hour, *rest = job["spec"]["schedule"].split()
    offset_s = parse_begin("02:30", datetime.now()).astimezone().utcoffset()
    assert offset_s is not None
    minutes = (150 - offset_s.total_seconds() / 60 + 330) % 1440
    assert (int(hour) * 60 + int(minute), rest) == (minutes, ["*", "*", "*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus_per_node": "a100:1"}, "Kubernetes takes a number of GPUs, got 'a100:1'"),
        ({"begin": "3h"}, "--begin: a Job of Kubernetes begins at once; say --every as well"),
        ({"begin": "25h", "every": "1d"}, "first starts within one period, which is --every"),
        (
            {"partition": "gpu", "sbatch": ["nice=1"]},
            "kubernetes has no word for `partition`, `sb",
        ),
        ({"to": "slurm"}, "slurm has no word for `image`; drop that from the command line and"),
        ({"every": "7h"}, "--every: cron knows parts of an hour, parts of a day, a day and"),
        ({"every": "1d", "time_zone": "Mars/North"}, "there is no time zone 'Mars/North'"),
    ],
)
def test_what_kubernetes_has_no_words_for_is_refused(
    spec: StudySpec, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        submit(spec, **options)


def test_what_is_missing_is_named_as_key_and_option(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("data: {name: digits}\nmodel: {architecture: mlp}\n")
    with pytest.raises(SpecError, match="wants image, cpus, mem under `cluster`, or as --image,"):
        submit(load_study(path), to="kubernetes")
    with pytest.raises(SpecError, match="each pod would have a journal of its own"):
        submit(load_study(path), to="kubernetes", image="i", cpus=1, mem="1G")


def test_a_password_in_the_study_file_stays_out_of_the_manifest(spec: StudySpec) -> None:
    spec.path.write_text(TEXT.replace("://db/", "://me:hidden@db/"))
    with pytest.raises(LauncherError, match="holds a password, which a ConfigMap shows to all"):
        submit(load_study(spec.path))


def test_pods_that_would_keep_mlflows_runs_to_themselves_are_refused(spec: StudySpec) -> None:
    spec.path.write_text(TEXT.replace('{uri: "http://mlflow:5000"}', "{uri: auto}"))
    auto = load_study(spec.path)
    with pytest.raises(SpecError, match=r"digits.yaml:6: tracking: each pod would keep MLflow's"):
        submit(auto)
    assert submit(auto, secret="sweeps")
    with pytest.raises(SpecError, match="one agent alone may keep them on a volume"):
        submit(auto, volume_claim="sweeps")
    assert submit(auto, volume_claim="sweeps", jobs=1)


def read_all(paths: RunPaths) -> list[Submission]:
    return read_submissions(paths, lambda damage: pytest.fail(str(damage)))


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    return Kubectl(tmp_path / "bin", monkeypatch)


def test_kubectl_makes_the_job_and_cancel_deletes_it_where_it_was_made(
    spec: StudySpec, tmp_path: Path, kubectl: Kubectl
) -> None:
    paths = RunPaths(tmp_path / "mlruns", "digits_9")
    notes: list[str] = []
    first, *_ = submit(spec, is_dry=False, note=notes.append)
    [submission] = read_all(paths)
    assert submission.job == submission.job_name.replace("_", "-")
    assert first == f"submitted 4 agents to Kubernetes, named {submission.job}"
    assert notes == ["done"]
    spec.path.write_text(TEXT.replace("storage: postgresql+psycopg://db/sweeps\n", ""))
    lines = cancel_study(load_study(spec.path), tmp_path / "mlruns", pytest.fail)
    assert lines[0] == "done"
    applied, deleted = kubectl.calls()
    assert applied == "--context=lab --namespace=sweeps apply -f -"
    assert deleted.startswith("--context=lab --namespace=sweeps delete ")
    assert f"job/{submission.job}" in deleted
    assert read_all(paths) == [], "a study that is cancelled waits for no job"
    assert paths.job_script(submission.name).exists()


def test_cancel_says_when_the_cluster_has_nothing_of_it(
    spec: StudySpec, tmp_path: Path, kubectl: Kubectl
) -> None:
    submit(spec, is_dry=False, note=lambda _: None)
    kubectl.does("")
    spec.path.write_text(TEXT.replace("storage: postgresql+psycopg://db/sweeps\n", ""))
    first, *_ = cancel_study(load_study(spec.path), tmp_path / "mlruns", pytest.fail)
    assert first.startswith("Kubernetes has nothing named sweeper-digits-9-")
    assert first.endswith("in context lab, namespace sweeps: it has ended, or is elsewhere")


def test_a_schedule_says_when_it_first_starts(spec: StudySpec, kubectl: Kubectl) -> None:
    first, *_ = submit(spec, is_dry=False, every="1d", note=lambda _: None)
    begin = datetime.fromisoformat(first.partition("; it starts first at ")[2])
    assert timedelta(hours=23) < begin - datetime.now() <= timedelta(days=1)
    first, *_ = submit(spec, is_dry=False, every="1d", begin="02:30", note=lambda _: None)
    assert first.endswith(f"at {parse_begin('02:30', datetime.now()):%Y-%m-%d %H:%M}")


def test_cancel_says_that_the_database_is_away_and_deletes_the_job(
    spec: StudySpec, tmp_path: Path, kubectl: Kubectl
) -> None:
    submit(spec, is_dry=False, note=lambda _: None)
    away = TEXT.replace("psycopg://db/", "psycopg://127.0.0.1:1/")
    spec.path.write_text(away)
    notes: list[str] = []
    lines = cancel_study(load_study(spec.path), tmp_path / "mlruns", notes.append)
    assert lines[0] == "done"
    assert "cannot open the study's storage" in notes[0]
    assert notes[0].endswith("their jobs are cancelled all the same")
    shutil.rmtree(tmp_path / "mlruns")
    with pytest.raises(StudyError, match="cannot open the study's storage"):
        cancel_study(load_study(spec.path), tmp_path / "mlruns", pytest.fail)


@pytest.mark.parametrize(("said", "is_noted"), [("job.batch/sweeper", True), ("", False)])
def test_doctor_finds_out_what_became_of_a_job_when_kubectl_did_not_answer(
    spec: StudySpec, tmp_path: Path, kubectl: Kubectl, said: str, is_noted: bool
) -> None:
    paths = RunPaths(tmp_path / "mlruns", "digits_9")
    kubectl.does("exec /bin/sleep 60")
    with pytest.MonkeyPatch.context() as hurried:
        hurried.setattr("sweeper.launchers.kubernetes.kubectl._TIMEOUT_S", 0.2)
        with pytest.raises(UncertainJobError, match=f"`sweeper doctor {spec.path}` looks for"):
            submit(spec, is_dry=False)
    [submission] = read_all(paths)
    assert submission.job is None
    kubectl.does("exit 1")
    [finding] = check_submissions(paths)
    assert "kubectl get: ended with 1" in finding.what
    assert finding.mend is None
    kubectl.does(f"echo {said}")
    if not is_noted:
        [finding] = check_submissions(paths)
        assert finding.mend is None, "it may be under way still"
        assert finding.advice.startswith("that may be under way still: ask again in 10 min")
        age(submission, paths)
    [finding] = check_submissions(paths)
    assert finding.mend is not None
    finding.mend()
    assert [found.job is not None for found in read_all(paths)] == [True] * is_noted
    assert list(check_submissions(paths)) == []
    assert kubectl.calls()[-1].startswith("--context=lab --namespace=sweeps get ")


def age(submission: Submission, paths: RunPaths) -> None:
    """As if it were an hour old."""
    old = replace(submission, begun_s=time.time() - 3600)
    paths.submission(submission.name).write_text(json.dumps(asdict(old)))
