"""What Kubernetes' schema lets through, and we do not."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from sweeper.launchers.kubernetes.mistakes import find_mistakes
from sweeper.launchers.kubernetes.pod import Manifest
from tests.support.kubernetes_jobs import gpu_job, nightly_job, small_job

POD = "spec.template.spec"
AGENT = f"{POD}.containers[0]"
SUBDOMAIN = "must be lower-case letters, digits, '-' and '.', up to 253"
LABEL = (
    "a label's value is up to 63 letters, digits, '-', '_' and '.', a letter or digit first and "
    "last"
)
IMAGE = "must name an image, e.g. 'registry.example.com/team/sweeper:1.0'"
MEMORY = "is less than 1Mi, got '16Ki'; it is counted in bytes, e.g. 16Gi"
EFFECTS = "NoSchedule or PreferNoSchedule or NoExecute"
KEY = "a label's key is a name such as 'pool', or 'example.com/pool'"


def assert_refused(manifest: Manifest, mistakes: list[str]) -> None:
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, newest, strict=True)  # lets it through
    name = f"{manifest['kind']}/{manifest['metadata']['name']}"
    assert find_mistakes(manifest) == [f"{name}: {mistake}" for mistake in mistakes]


@pytest.mark.parametrize("build", [small_job, gpu_job, nightly_job])
def test_what_is_well(build: Callable[[], list[Manifest]]) -> None:
    assert [find_mistakes(manifest) for manifest in build()] == [[], []]


@pytest.mark.parametrize(
    ("changes", "mistakes"),
    [
        ({"name": "a" * 62},
         [f"metadata.name: must have at most 61 signs, this one has 62, got '{'a' * 62}'"]),
        ({"name": "a" * 61, "n_agents": 11, "n_parallel": 2},
         [f"metadata.name: must have at most 60 signs, this one has 61, got '{'a' * 61}'"]),
        ({"node_selector": {"pool": "a b"}}, [f"{POD}.nodeSelector.pool: {LABEL}, got 'a b'"]),
        ({"node_selector": {"a/b/c": "-"}},
         [f"{POD}.nodeSelector.a/b/c: {KEY}, got '-'",
          f"{POD}.nodeSelector.a/b/c: {LABEL}, got '-'"]),
        ({"priority_class": "Very high"},
         [f"{POD}.priorityClassName: {SUBDOMAIN}, got 'Very high'"]),
        ({"volume_claim": "My claim"},
         [f"{POD}.volumes[0].persistentVolumeClaim.claimName: {SUBDOMAIN}, got 'My claim'"]),
        ({"secrets": ["mlflow", "My secret"]},
         [f"{AGENT}.envFrom[1].secretRef.name: {SUBDOMAIN}, got 'My secret'"]),
        ({"image": ""}, [f"{AGENT}.image: {IMAGE}, got ''"]),
        ({"image": "sweeper latest"}, [f"{AGENT}.image: {IMAGE}, got 'sweeper latest'"]),
        ({"memory": "16Ki"},
         [f"{AGENT}.resources.limits.memory: {MEMORY}",
          f"{AGENT}.resources.requests.memory: {MEMORY}"]),
    ],
)  # fmt: skip
def test_a_value_that_the_schema_lets_through(
    changes: dict[str, Any], mistakes: list[str]
) -> None:
    assert_refused(gpu_job(**changes)[1], mistakes)


@pytest.mark.parametrize(
    ("toleration", "mistake"),
    [
        ({"key": "gpu", "operator": "Is"}, "operator: must be Equal or Exists, got 'Is'"),
        ({"key": "gpu", "effect": "Never"}, f"effect: must be {EFFECTS}, got 'Never'"),
        ({"operator": "Exists", "value": "x"},
         "value: stands beside operator Exists, got 'x'; drop one"),
        ({"effect": "NoSchedule"}, "key: is needed unless operator is Exists, got nothing"),
    ],
)  # fmt: skip
def test_a_toleration_that_the_schema_lets_through(
    toleration: dict[str, str], mistake: str
) -> None:
    job = small_job(tolerations=[{"operator": "Exists"}, toleration])[1]
    assert_refused(job, [f"{POD}.tolerations[1].{mistake}"])


@pytest.mark.parametrize("memory", ["1Mi", "1024Ki", "1Gi", "1Ti"])
def test_memory_in_which_something_runs(memory: str) -> None:
    assert find_mistakes(small_job(memory=memory)[1]) == []


def test_the_jobs_of_a_schedule_have_longer_names() -> None:
    fault = f"must have at most 50 signs, this one has 51, got '{'a' * 51}'"
    assert_refused(nightly_job(name="a" * 51)[1], [f"metadata.name: {fault}"])


def test_a_mistake_in_the_pods_of_a_schedule_is_named_by_its_place() -> None:
    mistake = f"spec.jobTemplate.{AGENT}.image: {IMAGE}, got 'A'"
    assert_refused(nightly_job(image="A")[1], [mistake])


@pytest.mark.parametrize(
    ("zone", "way_out"),
    [
        ("Europe/Zuerich", "did you mean 'Europe/Zurich'?"),
        ("Local", "e.g. Europe/Zurich"),
        ("../UTC", "did you mean 'UTC'?"),
    ],
)
def test_no_time_zone(zone: str, way_out: str) -> None:
    fault = f"there is no such time zone, got '{zone}'; {way_out}"
    assert_refused(nightly_job(time_zone=zone)[1], [f"spec.timeZone: {fault}"])
