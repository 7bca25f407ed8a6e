"""Flat arguments -> the objects that run a study's agents."""

import math

from sweeper.errors import ExitCode
from sweeper.launchers.kubernetes.names import label_value
from sweeper.launchers.kubernetes.pod import AGENT, AgentPod, Manifest, build_pod, given

#: Deaths of an agent that its exit code does not explain, such as out of memory; Kubernetes' own
#: default for a whole Job.
_DEATHS = 6
#: Time to read the logs of a Job that has ended.
_KEPT_S = 86_400
#: So long after its time a Job is still made. Without a limit a CronJob gives up after a hundred
#: missed starts.
_LATE_S = 3_600
_KEPT_JOBS = 3


def _on_exit(action: str, *codes: ExitCode) -> Manifest:
    values = sorted(map(int, codes))  # which Kubernetes wants
    on = {"containerName": AGENT, "operator": "In", "values": values}
    return {"action": action, "onExitCodes": on}


#: The first rule that holds decides. A disruption comes first: whatever the exit code is then, the
#: node was taken away. An agent that stopped before the goal goes on in another pod. A study file
#: that is wrong is so for all agents; a failure or a bug may be of one node or trial alone.
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    _on_exit("Ignore", ExitCode.STOPPED),
    _on_exit("FailJob", ExitCode.USAGE),
    _on_exit("FailIndex", ExitCode.FAILURE, ExitCode.BUG),
]


def build_study_file(name: str, study_name: str, text: str) -> Manifest:
    """The ConfigMap with a study file, called as the Job that reads it and ``-study``.

    Args:
        name: Of the Job.
        study_name: Of the study; the file is called so.
        text: Of the study file.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _config_name(name), "labels": _labels(study_name)},
        "data": {_file_name(study_name): text},
    }


def build_job(
    name: str,
    study_name: str,
    agent: AgentPod,
    *,
    n_agents: int,
    n_parallel: int | None = None,
    time_limit_s: float | None = None,
) -> Manifest:
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
    pod = build_pod(agent, config_map=_config_name(name), file_name=_file_name(study_name))
    spec = {
        "completionMode": "Indexed",
        "completions": n_agents,
        "parallelism": n_agents if n_parallel is None else n_parallel,
        "backoffLimitPerIndex": _DEATHS,
        "activeDeadlineSeconds": None if time_limit_s is None else math.ceil(time_limit_s),
        "ttlSecondsAfterFinished": _KEPT_S,
        "podFailurePolicy": {"rules": _FAILURE_RULES},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": given(spec),
    }


def build_cron_job(job: Manifest, *, cron: str, time_zone: str) -> Manifest:
    """The Job made again and again, never twice at a time.

    Args:
        job: As :func:`build_job` makes it.
        cron: ``minute hour day month weekday``.
        time_zone: Of the line, as in ``Europe/Zurich``.
    """
    spec = {
        "schedule": cron,
        "timeZone": time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": _LATE_S,
        "successfulJobsHistoryLimit": _KEPT_JOBS,
        "failedJobsHistoryLimit": _KEPT_JOBS,
        "jobTemplate": {
            "metadata": {"labels": job["metadata"]["labels"]},
            "spec": job["spec"],
        },
    }
    return {**job, "kind": "CronJob", "spec": spec}


def _config_name(name: str) -> str:
    return f"{name}-study"


def _file_name(study_name: str) -> str:
    return f"{study_name}.yaml"


def _labels(study_name: str) -> Manifest:
    return {"app.kubernetes.io/name": "sweeper", "sweeper/study": label_value(study_name)}
