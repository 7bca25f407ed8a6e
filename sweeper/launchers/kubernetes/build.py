"""Flat arguments -> the objects that run a study's agents."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.errors import ExitCode
from sweeper.launchers.kubernetes.names import label_value
from sweeper.launchers.kubernetes.objects import (
    ClaimSource,
    ConfigMap,
    Container,
    CronJob,
    CronJobSpec,
    EmptyDir,
    EnvSource,
    EnvVar,
    FailureRule,
    Job,
    JobSpec,
    JobTemplate,
    Metadata,
    ObjectReference,
    OnExitCodes,
    OnPodCondition,
    PodFailurePolicy,
    PodSecurity,
    PodSpec,
    PodTemplate,
    Resources,
    TemplateMetadata,
    Volume,
    VolumeMount,
)

#: Where ``mlruns`` is made; the image has the same working directory.
WORK_DIR = "/work"
_STUDY_DIR = "/etc/sweeper"
_TMP_DIR = "/tmp"
_AGENT = "agent"
#: The image's user.
_USER = 1000
_GPU = "nvidia.com/gpu"
#: An agent that is told to stop drains within 20 s; its image may come over a slow disk.
_GRACE_S = 60
#: Deaths of an agent that its exit code does not explain, such as out of memory; Kubernetes' own
#: default for a whole Job.
_DEATHS = 6
#: Time to read the logs of a Job that has ended.
_KEPT_S = 86_400
#: So long after its time a Job is still made. Without a limit a CronJob gives up after a hundred
#: missed starts.
_LATE_S = 3_600
_KEPT_JOBS = 3

#: The first rule that holds decides. A disruption comes first: whatever the exit code is then, the
#: node was taken away. An agent that stopped before the goal goes on in another pod. A study file
#: that is wrong is so for all agents; a failure or a bug may be of one node or trial alone.
_FAILURE_POLICY = PodFailurePolicy(
    rules=(
        FailureRule(action="Ignore", on_pod_conditions=(OnPodCondition(type="DisruptionTarget"),)),
        *(
            FailureRule(
                action=action, on_exit_codes=OnExitCodes(container_name=_AGENT, values=codes)
            )
            for action, codes in (
                ("Ignore", (int(ExitCode.STOPPED),)),
                ("FailJob", (int(ExitCode.USAGE),)),
                ("FailIndex", (int(ExitCode.FAILURE), int(ExitCode.BUG))),
            )
        ),
    )
)


@dataclass(frozen=True, kw_only=True)
class AgentPod:
    """What the pod of each agent is and where it may be.

    Attributes:
        image: With sweeper as entry point and user 1000.
        cpu: Cores, as a quantity; requested and at most.
        memory: As a quantity; requested and at most. ``/dev/shm`` counts.
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


def build_study_file(name: str, study_name: str, text: str) -> ConfigMap:
    """The ConfigMap with a study file, called as the Job that reads it and ``-study``.

    Args:
        name: Of the Job.
        study_name: Of the study; the file is called so.
        text: Of the study file.
    """
    metadata = Metadata(name=_config_name(name), labels=_labels(study_name))
    return ConfigMap(metadata=metadata, data={_file_name(study_name): text})


def build_job(
    name: str,
    study_name: str,
    agent: AgentPod,
    *,
    n_agents: int,
    n_parallel: int | None = None,
    time_limit_s: float | None = None,
) -> Job:
    """An Indexed Job whose pods are agents of one study.

    Args:
        name: Of the Job; the host of an agent is called ``name-index``.
        study_name: Of the study, whose file :func:`build_study_file` brings; a label says it.
        agent: Each of them.
        n_agents: Agents that must see the goal reached, >= 1.
        n_parallel: Agents at a time, in [1, n_agents]; None means all.
        time_limit_s: Wall time of the Job, > 0; None means no limit.
    """
    labels = _labels(study_name)
    pod = _pod(agent, _config_name(name), _file_name(study_name))
    spec = JobSpec(
        completions=n_agents,
        parallelism=n_agents if n_parallel is None else n_parallel,
        backoff_limit_per_index=_DEATHS,
        active_deadline_seconds=None if time_limit_s is None else math.ceil(time_limit_s),
        ttl_seconds_after_finished=_KEPT_S,
        pod_failure_policy=_FAILURE_POLICY,
        template=PodTemplate(metadata=TemplateMetadata(labels=labels), spec=pod),
    )
    return Job(metadata=Metadata(name=name, labels=labels), spec=spec)


def build_cron_job(job: Job, *, cron: str, time_zone: str) -> CronJob:
    """The Job made again and again, never twice at a time.

    Args:
        job: As :func:`build_job` makes it.
        cron: ``minute hour day month weekday``, or ``@daily`` and the like.
        time_zone: Of the line, as in ``Europe/Zurich``.
    """
    spec = CronJobSpec(
        schedule=cron,
        time_zone=time_zone,
        starting_deadline_seconds=_LATE_S,
        successful_jobs_history_limit=_KEPT_JOBS,
        failed_jobs_history_limit=_KEPT_JOBS,
        job_template=JobTemplate(
            metadata=TemplateMetadata(labels=job.metadata.labels), spec=job.spec
        ),
    )
    return CronJob(metadata=job.metadata, spec=spec)


def _config_name(name: str) -> str:
    return f"{name}-study"


def _file_name(study_name: str) -> str:
    return f"{study_name}.yaml"


def _labels(study_name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "sweeper", "sweeper/study": label_value(study_name)}


def _pod(agent: AgentPod, config_name: str, file_name: str) -> PodSpec:
    volumes = _volumes(agent.volume_claim, config_name)
    return PodSpec(
        termination_grace_period_seconds=_GRACE_S,
        priority_class_name=agent.priority_class,
        node_selector=agent.node_selector,
        tolerations=tuple(agent.tolerations),
        security_context=PodSecurity(run_as_user=_USER, run_as_group=_USER, fs_group=_USER),
        containers=(_container(agent, file_name, tuple(volumes)),),
        volumes=tuple(volumes.values()),
    )


def _container(agent: AgentPod, file_name: str, mounts: tuple[VolumeMount, ...]) -> Container:
    secrets = (EnvSource(secret_ref=ObjectReference(name=name)) for name in agent.secrets)
    return Container(
        name=_AGENT,
        image=agent.image,
        args=("run", f"{_STUDY_DIR}/{file_name}"),
        working_dir=WORK_DIR,
        # Whatever libraries cache goes there: nothing else of the image can be written.
        env=(EnvVar(name="HOME", value=_TMP_DIR),),
        env_from=tuple(secrets),
        resources=_resources(agent.cpu, agent.memory, agent.n_gpus),
        volume_mounts=mounts,
    )


def _volumes(volume_claim: str | None, config_name: str) -> dict[VolumeMount, Volume]:
    """Each volume by where the agent sees it."""
    claim = None if volume_claim is None else ClaimSource(claim_name=volume_claim)
    work = Volume(
        name="work",
        empty_dir=EmptyDir() if claim is None else None,
        persistent_volume_claim=claim,
    )
    study = VolumeMount(name="study", mount_path=_STUDY_DIR, read_only=True)
    return {
        VolumeMount(name="work", mount_path=WORK_DIR): work,
        VolumeMount(name="tmp", mount_path=_TMP_DIR): Volume(name="tmp", empty_dir=EmptyDir()),
        VolumeMount(name="shm", mount_path="/dev/shm"): Volume(
            name="shm", empty_dir=EmptyDir(medium="Memory")
        ),
        study: Volume(name="study", config_map=ObjectReference(name=config_name)),
    }


def _resources(cpu: str, memory: str, n_gpus: int) -> Resources:
    amounts = {"cpu": cpu, "memory": memory}
    gpus = {_GPU: str(n_gpus)} if n_gpus else {}
    return Resources(requests=amounts, limits=amounts | gpus)
