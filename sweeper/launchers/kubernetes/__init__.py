"""Agents as an Indexed Job of Kubernetes, started once or by a CronJob.

An agent in a pod knows nothing of Kubernetes: it works on the study until the goal is reached, and
its exit code tells the Job's controller what to do with its index.
"""

from sweeper.launchers.kubernetes.build import build_job, build_schedule
from sweeper.launchers.kubernetes.kubectl import (
    Place,
    apply,
    current_place,
    delete,
    is_there,
)
from sweeper.launchers.kubernetes.manifest import find_mistakes, render_manifest
from sweeper.launchers.kubernetes.names import nearest_label

__all__ = [
    "Place",
    "apply",
    "build_job",
    "build_schedule",
    "current_place",
    "delete",
    "find_mistakes",
    "is_there",
    "nearest_label",
    "render_manifest",
]
