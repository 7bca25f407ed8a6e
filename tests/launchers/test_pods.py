from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.cancel import cancel_study
from sweeper.errors import LauncherError, SpecError
from sweeper.launchers.submission import read_submissions
from sweeper.launchers.submit import submit_study
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec, load_study
from sweeper.spec.cluster import parse_options

TEXT = """
name: digits_9
data: {name: digits}
model: {architecture: mlp}
storage: postgresql+psycopg://db/sweeps
cluster: {to: kubernetes, jobs: 4, cpus: 2, mem: 4G, image: registry.example.com/sweeper:1}
"""


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    path = tmp_path / "digits.yaml"
    path.write_text(TEXT)
    return load_study(path)


def submit(spec: StudySpec, *, is_dry: bool = True, **options: Any) -> list[str]:
    begin, every = options.pop("begin", None), options.pop("every", None)
    return submit_study(
        spec,
        parse_options(options),
        root=spec.path.parent / "mlruns",
        begin=begin,
        every=every,
        is_dry=is_dry,
        note=pytest.fail,
    )


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


def test_a_schedule_becomes_a_cron_job_in_its_time_zone(spec: StudySpec) -> None:
    [text] = submit(spec, every="1d", begin="2999-07-01T02:30", time_zone="Asia/Kolkata")
    _, job = yaml.safe_load_all(text)
    assert (job["kind"], job["spec"]["timeZone"]) == ("CronJob", "Asia/Kolkata")
    minute, hour, *rest = job["spec"]["schedule"].split()
    offset_s = datetime(2999, 7, 1, 2, 30).astimezone().utcoffset()
    assert offset_s is not None
    minutes = (150 - offset_s.total_seconds() / 60 + 330) % 1440
    assert (int(hour) * 60 + int(minute), rest) == (minutes, ["*", "*", "*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus_per_node": "a100:1"}, "Kubernetes takes a number of GPUs, got 'a100:1'"),
        ({"begin": "3h"}, "--begin: a Job of Kubernetes begins at once; say --every as well"),
        ({"every": "7h"}, "--every: cron knows parts of an hour, parts of a day, a day and"),
        ({"every": "1d", "time_zone": "Mars/North"}, "there is no time zone 'Mars/North'"),
    ],
)
def test_what_kubernetes_has_no_words_for_is_refused(
    spec: StudySpec, options: dict[str, str], message: str
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


def test_kubectl_makes_the_job_and_cancel_deletes_it(
    spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program called kubectl, alone on the PATH, in the place of the real one."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/words\n/bin/cat >/dev/null\necho done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    first, *_ = submit(spec, is_dry=False)
    [submission] = read_submissions(RunPaths(tmp_path / "mlruns", "digits_9"))
    assert first == f"submitted 4 agents to Kubernetes, named {submission.job_name}: done"
    assert submission.job == submission.job_name.replace("_", "-")
    spec.path.write_text(TEXT.replace("storage: postgresql+psycopg://db/sweeps\n", ""))
    lines = cancel_study(load_study(spec.path), tmp_path / "mlruns", pytest.fail)
    assert lines[0] == "done"
    applied, deleted = (tmp_path / "words").read_text().splitlines()
    assert applied == "apply -f -"
    assert f"job/{submission.job}" in deleted


def test_a_refusal_leaves_no_trace(
    spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match="kubectl: is not on the PATH"):
        submit(spec, is_dry=False)
    assert read_submissions(RunPaths(tmp_path / "mlruns", "digits_9")) == []
