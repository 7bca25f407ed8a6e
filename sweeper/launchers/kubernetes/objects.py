"""What we need of Kubernetes' API, as values. A field is named as there, in snake case."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Of an object."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TemplateMetadata:
    """Of objects that another one makes, and names."""

    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ConfigMap:
    """Text files by name, readable by all who may read the namespace."""

    api_version: str = "v1"
    kind: str = "ConfigMap"
    metadata: Metadata
    data: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EnvVar:
    """A variable whose value anyone may see."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class ObjectReference:
    """Another object of the namespace."""

    name: str


@dataclass(frozen=True, kw_only=True)
class EnvSource:
    """Every key of a Secret as a variable."""

    secret_ref: ObjectReference


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Quantities by resource."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class VolumeMount:
    """Where a container sees a volume."""

    name: str
    mount_path: str
    read_only: bool | None = None


@dataclass(frozen=True, kw_only=True)
class EmptyDir:
    """A folder that lives as long as its pod; ``Memory`` counts as memory of the pod."""

    medium: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimSource:
    """A PersistentVolumeClaim of the namespace."""

    claim_name: str


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of a pod, from one of the sources."""

    name: str
    empty_dir: EmptyDir | None = None
    config_map: ObjectReference | None = None
    persistent_volume_claim: ClaimSource | None = None


@dataclass(frozen=True, kw_only=True)
class SeccompProfile:
    """Which system calls a pod may make."""

    type: str = "RuntimeDefault"


@dataclass(frozen=True, kw_only=True)
class PodSecurity:
    """Whom a pod's processes run as, and whom its volumes belong to."""

    run_as_non_root: bool = True
    run_as_user: int
    run_as_group: int
    fs_group: int
    #: Else each start walks over every file of a shared volume.
    fs_group_change_policy: str = "OnRootMismatch"
    seccomp_profile: SeccompProfile = SeccompProfile()


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """Of the Linux kernel."""

    drop: tuple[str, ...] = ("ALL",)


@dataclass(frozen=True, kw_only=True)
class ContainerSecurity:
    """What a container may do."""

    allow_privilege_escalation: bool = False
    read_only_root_filesystem: bool = True
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container; what it runs is the image's entry point."""

    name: str
    image: str
    args: tuple[str, ...]
    working_dir: str
    env: tuple[EnvVar, ...]
    env_from: tuple[EnvSource, ...] = ()
    resources: Resources
    volume_mounts: tuple[VolumeMount, ...]
    security_context: ContainerSecurity = ContainerSecurity()


@dataclass(frozen=True, kw_only=True)
class PodSpec:
    """A pod."""

    restart_policy: str = "Never"
    termination_grace_period_seconds: int
    automount_service_account_token: bool = False
    #: Else a Service called ``mlflow`` sets MLFLOW_PORT, which MLflow reads.
    enable_service_links: bool = False
    priority_class_name: str | None = None
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, str], ...]
    security_context: PodSecurity
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, kw_only=True)
class PodTemplate:
    """What a Job makes pods from."""

    metadata: TemplateMetadata
    spec: PodSpec


@dataclass(frozen=True, kw_only=True)
class OnExitCodes:
    """Holds of a pod whose container ended with one of these."""

    container_name: str
    operator: str = "In"
    values: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class OnPodCondition:
    """Holds of a pod in this condition."""

    type: str
    status: str = "True"


@dataclass(frozen=True, kw_only=True)
class FailureRule:
    """What becomes of a pod that failed, if the one or the other holds of it."""

    action: str
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: tuple[OnPodCondition, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PodFailurePolicy:
    """The first rule that holds decides; without one, a failure is counted."""

    rules: tuple[FailureRule, ...]


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """Of an Indexed Job."""

    completion_mode: str = "Indexed"
    completions: int
    parallelism: int
    backoff_limit_per_index: int
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int
    pod_failure_policy: PodFailurePolicy
    template: PodTemplate


@dataclass(frozen=True, kw_only=True)
class Job:
    """Pods that run until each has succeeded once."""

    api_version: str = "batch/v1"
    kind: str = "Job"
    metadata: Metadata
    spec: JobSpec


@dataclass(frozen=True, kw_only=True)
class JobTemplate:
    """What a CronJob makes Jobs from."""

    metadata: TemplateMetadata
    spec: JobSpec


@dataclass(frozen=True, kw_only=True)
class CronJobSpec:
    """When a CronJob makes a Job."""

    schedule: str
    time_zone: str
    concurrency_policy: str = "Forbid"
    starting_deadline_seconds: int
    successful_jobs_history_limit: int
    failed_jobs_history_limit: int
    job_template: JobTemplate


@dataclass(frozen=True, kw_only=True)
class CronJob:
    """Makes a Job again and again."""

    api_version: str = "batch/v1"
    kind: str = "CronJob"
    metadata: Metadata
    spec: CronJobSpec


KubernetesObject = ConfigMap | Job | CronJob


def to_mapping(value: KubernetesObject) -> dict[str, Any]:
    """An object as its manifest has it. What is None or an empty collection is left out."""
    return {
        _camel(field.name): plain
        for field in fields(value)
        if (plain := _plain(getattr(value, field.name))) not in (None, [])
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_mapping(value)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return dict(value) or None  # unlike an EmptyDir, which is {}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)
