"""What Kubernetes' schema lets through, and we do not."""

import copy
import re
from typing import Any

import kubernetes_validate
import pytest

from sweeper.launchers.kubernetes.manifest import find_mistakes
from tests.support.kubernetes_jobs import documents, gpu_job, nightly_job

POD = "spec.template.spec"
AGENT = f"{POD}.containers.0"
RULES = "spec.podFailurePolicy.rules"


def planted(manifest: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a path, whose keys are joined by dots; ``~`` stands for one."""
    changed = copy.deepcopy(manifest)
    *way, last = [key.replace("~", ".") for key in where.split(".")]
    inner: Any = changed
    for key in way:
        inner = inner[int(key)] if isinstance(inner, list) else inner.setdefault(key, {})
    if isinstance(inner, list):
        inner[int(last) : int(last) + 1] = [value]
    elif value is None:
        del inner[last]
    else:
        inner[last] = value
    return changed


def place(where: str) -> str:
    """The path as a mistake names it: ``a[0].b``."""
    return re.sub(r"\.([0-9]+)(?=\.|$)", r"[\1]", where).replace("~", ".")


def assert_refused(manifest: dict[str, Any], mistake: str) -> None:
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, newest, strict=True)  # lets it through
    found = find_mistakes(manifest)
    assert found == [f"{manifest['kind']}/{manifest['metadata']['name']}: {mistake}"]


@pytest.mark.parametrize(
    ("where", "value", "rule"),
    [
        ("metadata.name", "sweep_digits",
         "must be lower-case letters, digits and '-', neither first nor last, e.g. "
         "'sweep-digits', got 'sweep_digits'"),
        ("metadata.name", "a" * 62,
         "must have at most 61 signs, this one has 62, got "
         f"'{'a' * 62}'"),
        ("metadata.labels.sweeper/study", "two words",
         "a label's value is up to 63 letters, digits, '-', '_' and '.', a letter or digit first"
         " and last, got 'two words'"),
        ("metadata.labels.a/b/c", "x",
         "a label's key is a name such as 'pool', or 'example.com/pool', got 'x'"),
        ("spec.template.metadata.labels.a", "-",
         "a label's value is up to 63 letters, digits, '-', '_' and '.', a letter or digit first"
         " and last, got '-'"),
        ("spec.parallelism", 4, "must not be more than completions, which is 3, got 4"),
        ("spec.parallelism", 0, "must be at least 1, got 0"),
        ("spec.completions", None, "is needed where completionMode is Indexed, got nothing"),
        ("spec.maxFailedIndexes", 4, "must not be more than completions, which is 3, got 4"),
        ("spec.activeDeadlineSeconds", 0, "must be at least 1, got 0"),
        ("spec.ttlSecondsAfterFinished", -1, "must be at least 0, got -1"),
        ("spec.podReplacementPolicy", "TerminatingOrFailed",
         "must be Failed, got 'TerminatingOrFailed'"),
        (RULES, [], "must have 1 to 20 rules, got []"),
        (f"{RULES}.0.action", "Retry",
         "must be FailJob or FailIndex or Ignore or Count, got 'Retry'"),
        (f"{RULES}.0.onPodConditions.0.status", "true",
         "must be True or False or Unknown, got 'true'"),
        (f"{RULES}.1.onExitCodes.operator", "Equals", "must be In or NotIn, got 'Equals'"),
        (f"{RULES}.1.onExitCodes.values", [4, 1],
         "must be exit codes in rising order, each once, got [4, 1]"),
        (f"{RULES}.1.onExitCodes.values", [0, 4], "0 is no failure, got [0, 4]; drop it"),
        (f"{RULES}.1.onExitCodes.containerName", "main",
         "there is no such container, got 'main'; the pod has agent"),
        (f"{POD}.hostNetwork", True, "an agent needs nothing of its node, got true; drop it"),
        (f"{POD}.securityContext.runAsNonRoot", False,
         "an agent needs no root, got false; set it to true"),
        (f"{POD}.securityContext.runAsUser", 0,
         "an agent needs no root, got 0; name another user"),
        (f"{POD}.terminationGracePeriodSeconds", 10,
         "an agent needs up to 20 s to put its trials back, got 10; 30 do"),
        (f"{POD}.nodeSelector.pool", "a b",
         "a label's value is up to 63 letters, digits, '-', '_' and '.', a letter or digit first"
         " and last, got 'a b'"),
        (f"{POD}.priorityClassName", "Very high",
         "must be lower-case letters, digits, '-' and '.', up to 253, got 'Very high'"),
        (f"{POD}.tolerations.0.operator", "Is", "must be Equal or Exists, got 'Is'"),
        (f"{POD}.tolerations.0.effect", "Never",
         "must be NoSchedule or PreferNoSchedule or NoExecute, got 'Never'"),
        (f"{POD}.tolerations.0.value", "x", "stands beside operator Exists, got 'x'; drop one"),
        (f"{POD}.volumes.4", {"name": "more"},
         "must have one source, e.g. emptyDir: {}, got {'name': 'more'}"),
        (f"{POD}.volumes.0.persistentVolumeClaim.claimName", "My claim",
         "must be lower-case letters, digits, '-' and '.', up to 253, got 'My claim'"),
        (f"{AGENT}.image", "",
         "must name an image, e.g. 'registry.example.com/team/sweeper:1.0', got ''"),
        (f"{AGENT}.image", "sweeper latest",
         "must name an image, e.g. 'registry.example.com/team/sweeper:1.0', got 'sweeper latest'"),
        (f"{AGENT}.image", "registry.example.com/Team/sweeper",
         "must name an image, e.g. 'registry.example.com/team/sweeper:1.0', got "
         "'registry.example.com/Team/sweeper'"),
        (f"{AGENT}.envFrom.0.secretRef.name", "My secret",
         "must be lower-case letters, digits, '-' and '.', up to 253, got 'My secret'"),
        (f"{AGENT}.envFrom.0", {},
         "must have one secretRef or one configMapRef with a name, got {}"),
        (f"{AGENT}.resources.requests.cpu", "5", "must not be more than limits.cpu, got '5'"),
        (f"{AGENT}.resources.requests.memory", "16400Mi",
         "must not be more than limits.memory, got '16400Mi'"),
        (f"{AGENT}.resources.requests.memory", "16K",
         "must be a quantity such as 500m, 4, 16G (10^9) or 16Gi (2^30), got '16K'"),
        (f"{AGENT}.resources.requests.memory", "500m",
         "is less than 1Mi, got '500m'; it is counted in bytes, e.g. 16Gi"),
        (f"{AGENT}.resources.requests.cpu", "1Gi",
         "is counted in cores: 4, 0.5 or 500m, got '1Gi'"),
        (f"{AGENT}.resources.limits.nvidia~com/gpu", "500m",
         "devices are counted in whole numbers, got '500m'"),
        (f"{AGENT}.resources.limits.nvidia~com/gpu", -1, "must not be negative, got -1"),
        (f"{AGENT}.resources.requests.nvidia~com/gpu", "0",
         "must be the same as limits.nvidia.com/gpu, or left out, got '0'"),
        (f"{AGENT}.volumeMounts.0.name", "wrok",
         "there is no such volume, got 'wrok'; the pod has shm, study, tmp, work"),
        (f"{AGENT}.volumeMounts.0.mountPath", "work",
         "must be an absolute path without a colon, got 'work'"),
        (f"{AGENT}.securityContext.privileged", True,
         "an agent needs no privileges, got true; drop it"),
        (f"{AGENT}.securityContext.capabilities.add", ["SYS_ADMIN"],
         "an agent needs no capabilities, got ['SYS_ADMIN']; drop it"),
    ],
)  # fmt: skip
def test_a_value_that_the_schema_lets_through(where: str, value: Any, rule: str) -> None:
    mistake = f"{place(where)}: {rule}"
    assert_refused(planted(documents(gpu_job())[1], where, value), mistake)


@pytest.mark.parametrize(
    ("where", "value", "mistake"),
    [
        ("spec.completionMode", "NonIndexed",
         "spec.backoffLimitPerIndex: needs completionMode: Indexed, got 6"),
        ("spec.backoffLimitPerIndex", None,
         f"{RULES}[3].action: needs backoffLimitPerIndex, got 'FailIndex'"),
        (f"{RULES}.0.onPodConditions", None,
         f"{RULES}[0]: must have either onExitCodes or onPodConditions, got "
         "{'action': 'Ignore'}"),
        (f"{POD}.tolerations.1", {"effect": "NoSchedule"},
         f"{POD}.tolerations[1].key: is needed unless operator is Exists, got "
         "nothing"),
        (f"{POD}.volumes.4", {"name": "work", "emptyDir": {}},
         f"{POD}.volumes[4].name: is there twice, got 'work'; rename or drop one"),
        (f"{POD}.volumes.4", {"name": "data", "hostPath": {"path": "/data"}},
         f"{POD}.volumes[4].hostPath: an agent needs nothing of its node, got "
         "{'path': '/data'}; claim a volume"),
        (f"{POD}.initContainers", [{"name": "Fetch", "image": "busybox"}],
         f"{POD}.initContainers[0].name: must be lower-case letters, digits and '-',"
         " neither first nor last, e.g. 'fetch', got 'Fetch'"),
        (f"{POD}.containers.1", {"name": "agent", "image": "sweeper"},
         f"{POD}.containers[1].name: is there twice, got 'agent'; rename or drop one"),
        (f"{AGENT}.env.1", {"name": "HOME", "value": "/"},
         f"{POD}.containers[0].env[1].name: is there twice, got 'HOME'; rename or "
         "drop one"),
        (f"{AGENT}.env.1", {"name": "2A", "value": "b"},
         f"{POD}.containers[0].env[1].name: a variable's name is letters, digits, "
         "'-', '_' and '.', no digit first, got '2A'"),
        (f"{AGENT}.env.1", {"name": "A", "value": "postgresql://me:hidden@host/db"},
         f"{POD}.containers[0].env[1].value: holds a password, got "
         "'postgresql://***@host/db'; put it into a Secret and name that in envFrom"),
        (f"{AGENT}.env.1",
         {"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
         f"{POD}.containers[0].env[1].valueFrom: stands beside a value, got "
         "{'fieldRef': {'fieldPath': 'x'}}; drop one"),
        (f"{AGENT}.volumeMounts.0.mountPath", "/tmp",
         f"{POD}.containers[0].volumeMounts[1].mountPath: is there twice, got "
         "'/tmp'; rename or drop one"),
    ],
)  # fmt: skip
def test_a_value_with_which_another_is_wrong(where: str, value: Any, mistake: str) -> None:
    assert_refused(planted(documents(gpu_job())[1], where, value), mistake)


@pytest.mark.parametrize(
    ("where", "value", "rule"),
    [
        ("metadata.name", "a" * 51,
         "must have at most 50 signs, this one has 51, got "
         f"'{'a' * 51}'"),
        ("spec.schedule", "0 2 * *",
         "must have five fields, minute hour day month weekday, e.g. '0 2 * * mon-fri', this one"
         " has 4, got '0 2 * *'"),
        ("spec.timeZone", "Europe/Zuerich",
         "there is no such time zone, got 'Europe/Zuerich'; did you mean 'Europe/Zurich'?"),
        ("spec.concurrencyPolicy", "Never", "must be Allow or Forbid or Replace, got 'Never'"),
        ("spec.startingDeadlineSeconds", 5, "must be at least 10, got 5"),
        ("spec.failedJobsHistoryLimit", -1, "must be at least 0, got -1"),
        ("spec.jobTemplate.metadata.labels.a", "-",
         "a label's value is up to 63 letters, digits, '-', '_' and '.', a letter or digit first"
         " and last, got '-'"),
        ("spec.jobTemplate.spec.parallelism", 4,
         "must not be more than completions, which is 3, got 4"),
    ],
)  # fmt: skip
def test_a_schedule_that_the_schema_lets_through(where: str, value: Any, rule: str) -> None:
    mistake = f"{place(where)}: {rule}"
    assert_refused(planted(documents(nightly_job())[1], where, value), mistake)


@pytest.mark.parametrize("policy", ["Always", "OnFailure", None])
def test_a_restart_policy_that_a_failure_policy_does_not_go_with(policy: str | None) -> None:
    manifest = planted(documents(gpu_job())[1], f"{POD}.restartPolicy", policy)
    kubernetes_validate.validate(manifest, "1.29", strict=True)
    mistakes = find_mistakes(manifest)
    got = "nothing" if policy is None else repr(policy)
    place = f"Job/sweep-digits: {POD}.restartPolicy"
    assert f"{place}: must be Never beside podFailurePolicy, got {got}" in mistakes
    is_none_of_a_job = f"{place}: must be Never or OnFailure, got {got}" in mistakes
    assert is_none_of_a_job == (policy != "OnFailure")


def test_a_job_without_any_of_our_extras_is_well() -> None:
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "plain"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "OnFailure",
                    "containers": [{"name": "a", "image": "localhost:5000/a@sha256:" + "0" * 64}],
                }
            }
        },
    }
    assert find_mistakes(manifest) == []


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_an_old_version_of_the_api(kind: str) -> None:
    manifest = {"apiVersion": "batch/v1beta1", "kind": kind, "metadata": {"name": "a"}}
    assert f"{kind}/a: apiVersion: must be batch/v1, got 'batch/v1beta1'" in find_mistakes(
        manifest
    )


def test_a_pod_without_containers() -> None:
    manifest = planted(documents(gpu_job())[1], f"{POD}.containers", [])
    mistake = f"Job/sweep-digits: {POD}.containers: must have one container at least, got []"
    assert mistake in find_mistakes(manifest)


def test_a_volume_has_a_name_that_a_label_could_have() -> None:
    manifest = planted(documents(gpu_job())[1], f"{POD}.volumes.0.name", "Work_dir")
    rule = "must be lower-case letters, digits and '-', neither first nor last, e.g. 'work-dir'"
    mistake = f"Job/sweep-digits: {POD}.volumes[0].name: {rule}, got 'Work_dir'"
    assert mistake in find_mistakes(manifest)


def test_requests_and_limits_are_compared_as_numbers() -> None:
    where = f"{AGENT}.resources.requests.memory"
    assert find_mistakes(planted(documents(gpu_job())[1], where, "17G")) == []  # < 16Gi
