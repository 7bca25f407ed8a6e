import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from sweeper.errors import ExitCode
from sweeper.launchers.kubernetes.manifest import render_manifest
from sweeper.launchers.kubernetes.pod import Manifest
from tests.support.kubernetes_jobs import STUDY, documents, gpu_job, nightly_job, pod_of, small_job

Build = Callable[[], list[Manifest]]


@pytest.mark.parametrize("build", [small_job, gpu_job, nightly_job])
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_manifests_hold_to_the_schema(build: Build, version: str) -> None:
    found = [
        kubernetes_validate.validate(manifest, version, strict=True)
        for manifest in documents(build())
    ]
    assert found == [".".join(version.split(".")[:2])] * 2


def test_a_file_of_all_objects_passes_kubernetes_validate(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(render_manifest(nightly_job()))
    words = ["--strict", "-k", "1.29", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("passed for resource") == 2


def job(**changes: Any) -> dict[str, Any]:
    return documents(small_job(**changes))[-1]


def test_every_agent_must_see_the_goal_reached() -> None:
    spec = job(n_agents=5)["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 5, 5)
    assert job(n_agents=5, n_parallel=2)["spec"]["parallelism"] == 2


def test_what_an_exit_code_does_to_its_index() -> None:
    spec = job()["spec"]
    rules = spec["podFailurePolicy"]["rules"]
    # What the node does to a pod is looked at before what the agent says of it.
    assert rules[0] == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    actions = {
        code: rule["action"] for rule in rules[1:] for code in rule["onExitCodes"]["values"]
    }
    assert actions == {
        ExitCode.STOPPED: "Ignore",
        ExitCode.USAGE: "FailJob",
        ExitCode.FAILURE: "FailIndex",
        ExitCode.BUG: "FailIndex",
    }
    assert pod_of(job())["restartPolicy"] == "Never"
    assert spec["backoffLimitPerIndex"] == 6


def test_an_agent_is_nobody_and_writes_nowhere_but_into_its_volumes() -> None:
    pod = pod_of(job())
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["env"] == [{"name": "HOME", "value": "/tmp"}]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        "/work", "/tmp", "/dev/shm", "/etc/sweeper"
    }  # fmt: skip
    assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pod["volumes"]


def test_the_study_file_comes_by_a_config_map() -> None:
    config, manifest = documents(small_job())
    assert config["data"] == {"digits.yaml": STUDY}
    pod = pod_of(manifest)
    assert pod["containers"][0]["args"] == ["run", "/etc/sweeper/digits.yaml"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["study"] == {"name": "study", "mountPath": "/etc/sweeper", "readOnly": True}
    assert {"name": "study", "configMap": {"name": config["metadata"]["name"]}} in pod["volumes"]


def test_the_working_directory_is_the_volume() -> None:
    pod = pod_of(job(volume_claim="sweeps"))
    assert pod["containers"][0]["workingDir"] == "/work"
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "sweeps"}} in pod["volumes"]


def test_an_agent_gets_what_it_asks_for_and_no_more() -> None:
    assert pod_of(job())["containers"][0]["resources"] == {
        "requests": {"cpu": "4", "memory": "16Gi"},
        "limits": {"cpu": "4", "memory": "16Gi"},
    }
    pod = pod_of(documents(gpu_job())[1])
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["nodeSelector"] == {"example.com/pool": "gpu"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod["priorityClassName"] == "low"


def test_what_one_part_names_is_in_another() -> None:
    manifest = documents(gpu_job())[1]
    pod, rules = pod_of(manifest), manifest["spec"]["podFailurePolicy"]["rules"]
    [container] = pod["containers"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert [mount["name"] for mount in container["volumeMounts"]] == volumes
    assert {rule["onExitCodes"]["containerName"] for rule in rules[1:]} == {container["name"]}
    codes = [rule["onExitCodes"]["values"] for rule in rules[1:]]
    assert codes == [sorted(set(values) - {0}) for values in codes]
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    assert limits == {**requests, "nvidia.com/gpu": "1"}, "nobody may ask for more than its limit"


def test_secrets_come_by_name() -> None:
    container = pod_of(documents(gpu_job())[1])["containers"][0]
    assert container["envFrom"] == [
        {"secretRef": {"name": "mlflow"}},
        {"secretRef": {"name": "postgres"}},
    ]


def test_time_limits_are_whole_seconds() -> None:
    assert documents(gpu_job())[1]["spec"]["activeDeadlineSeconds"] == 3601
    assert "activeDeadlineSeconds" not in job()["spec"]
    assert pod_of(job())["terminationGracePeriodSeconds"] == 60


def test_a_schedule_makes_the_same_job_and_never_two_at_a_time() -> None:
    config, once = documents(gpu_job())
    same_config, again = documents(nightly_job())
    assert same_config == config
    assert again["metadata"] == once["metadata"]
    spec = again["spec"]
    assert spec["jobTemplate"]["spec"] == once["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 2 * * mon-fri", "Europe/Zurich")
    assert spec["concurrencyPolicy"] == "Forbid"


def test_everything_is_labelled_also_for_a_name_that_no_label_can_have() -> None:
    long = "Nets." + "x" * 80
    config, manifest = documents(small_job(study_name=long))
    labels = {"app.kubernetes.io/name": "sweeper", "sweeper/study": long[:63]}
    assert config["metadata"]["labels"] == manifest["metadata"]["labels"] == labels
    assert manifest["spec"]["template"]["metadata"]["labels"] == labels
