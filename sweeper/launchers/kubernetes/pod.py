"""The pod of an agent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: An object of Kubernetes, or a part of one, as its YAML has it.
Manifest = Mapping[str, Any]

#: Where ``mlruns`` is made; the image has the same working directory.
WORK_DIR = "/work"
#: Of the container, which the Job's rules name.
AGENT = "agent"
_STUDY_DIR = "/etc/sweeper"
_TMP_DIR = "/tmp"
#: The image's user.
_USER = 1000
_GPU = "nvidia.com/gpu"
#: An agent that is told to stop drains within 20 s; its image may come over a slow disk.
_GRACE_S = 60
_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "fsGroupChangePolicy": "OnRootMismatch",  # else each start walks over every file of a volume
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, kw_only=True)
class AgentPod:
    """What the pod of each agent is and where it may be.

    Attributes:
        image: With sweeper as entry point and user 1000.
        cpu: Cores, as a quantity; requested and at most.
        memory: As a quantity in a binary unit, ``16Gi``; requested and at most. ``/dev/shm``
            counts.
        n_gpus: Whole NVIDIA GPUs, >= 0.
        volume_claim: PersistentVolumeClaim that all agents have as working directory; None means
            that each has an empty one that is gone with its pod.
        secrets: Names of Secrets whose keys become variables of the environment.
        node_selector: Labels that a node must have.
        tolerations: Of taints of nodes, as Kubernetes writes them.
        priority_class: By name.
    """

    image: str
    cpu: str
    memory: str
    n_gpus: int = 0
    volume_claim: str | None = None
    secrets: Sequence[str] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    priority_class: str | None = None


def build_pod(agent: AgentPod, *, config_map: str, file_name: str) -> Manifest:
    """The pod that a Job makes for each agent.

    Args:
        agent: What it is.
        config_map: Name of that which holds the study file.
        file_name: Of the study file in there.
    """
    claim = agent.volume_claim
    work = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        # Else a Service called ``mlflow`` sets MLFLOW_PORT, which MLflow reads.
        "enableServiceLinks": False,
        "priorityClassName": agent.priority_class,
        "nodeSelector": dict(agent.node_selector),
        "tolerations": list(agent.tolerations),
        "securityContext": _POD_SECURITY,
        "containers": [_container(agent, file_name)],
        "volumes": [
            {"name": "work", **work},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            {"name": "study", "configMap": {"name": config_map}},
        ],
    }
    return given(pod)


def _container(agent: AgentPod, file_name: str) -> Manifest:
    amounts = {"cpu": agent.cpu, "memory": agent.memory}
    gpus = {_GPU: str(agent.n_gpus)} if agent.n_gpus else {}
    container = {
        "name": AGENT,
        "image": agent.image,
        "args": ["run", f"{_STUDY_DIR}/{file_name}"],
        "workingDir": WORK_DIR,
        # Whatever libraries cache goes there: nothing else of the image can be written.
        "env": [{"name": "HOME", "value": _TMP_DIR}],
        "envFrom": [{"secretRef": {"name": name}} for name in agent.secrets],
        "resources": {"requests": amounts, "limits": {**amounts, **gpus}},
        "volumeMounts": [
            {"name": "work", "mountPath": WORK_DIR},
            {"name": "tmp", "mountPath": _TMP_DIR},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "study", "mountPath": _STUDY_DIR, "readOnly": True},
        ],
        "securityContext": _CONTAINER_SECURITY,
    }
    return given(container)


def given(keys: Manifest) -> Manifest:
    """Without those that say nothing."""
    return {key: value for key, value in keys.items() if value not in (None, [], {})}
