"""Jobs as a user could ask for them, and their manifests as mappings."""

from collections.abc import Sequence
from typing import Any

import yaml

from sweeper.launchers.kubernetes.build import build_cron_job, build_job, build_study_file
from sweeper.launchers.kubernetes.manifest import render_manifest
from sweeper.launchers.kubernetes.pod import AgentPod, Manifest

STUDY = "data: {name: digits}\nmodel: {architecture: mlp}\nbudget: {trials: 20}\n"
SMALL = {
    "name": "sweep-digits",
    "study_name": "digits",
    "image": "registry.example.com/team/sweeper:1.0",
    "n_agents": 3,
    "cpu": "4",
    "memory": "16Gi",
}
_OF_JOB = ("n_agents", "n_parallel", "time_limit_s")
GPU = {
    "n_gpus": 1,
    "secrets": ["mlflow", "postgres"],
    "volume_claim": "sweeps",
    "time_limit_s": 3600.5,
    "n_parallel": 2,
    "node_selector": {"example.com/pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "priority_class": "low",
}


def small_job(**changes: Any) -> list[Manifest]:
    given = {**SMALL, **changes}
    name, study_name = given.pop("name"), given.pop("study_name")
    config = build_study_file(name, study_name, given.pop("study_file_text", STUDY))
    counts = {key: given.pop(key) for key in _OF_JOB if key in given}
    return [config, build_job(name, study_name, AgentPod(**given), **counts)]


def gpu_job(**changes: Any) -> list[Manifest]:
    return small_job(**{**GPU, **changes})


def nightly_job(*, time_zone: str = "Europe/Zurich", **changes: Any) -> list[Manifest]:
    config, job = gpu_job(**changes)
    return [config, build_cron_job(job, cron="0 2 * * mon-fri", time_zone=time_zone)]


def documents(objects: Sequence[Manifest]) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render_manifest(objects)))


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    spec = spec["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else spec
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod
