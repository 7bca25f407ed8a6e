"""A study's agents as pods of Kubernetes."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sweeper.errors import SpecError
from sweeper.launchers.kubernetes import (
    apply,
    build_job,
    build_schedule,
    nearest_label,
    render_manifest,
)
from sweeper.launchers.request import Request
from sweeper.launchers.schedule import cron_line
from sweeper.launchers.submission import Submission

_NEEDED = ("image", "cpus", "mem")
_TIME_ZONE = "Etc/UTC"


def show_pods(request: Request) -> list[str]:
    """What :func:`submit_pods` would submit: the manifest.

    Raises:
        SpecError: If something is missing, or has no meaning on Kubernetes.
        LauncherError: With every mistake that Kubernetes would find, or not find.
    """
    return [_manifest(request, Submission.new(request.spec.name, "kubernetes"))]


def submit_pods(request: Request, note: Callable[[str], None]) -> str:
    """Leave the manifest in the study's folder and hand it to kubectl.

    Args:
        request: What is wanted.
        note: Told what kubectl says.

    Returns:
        What was done, for people.

    Raises:
        SpecError, LauncherError: As :func:`show_pods`; the latter also if there is no kubectl, or
            it refuses.
    """
    submission = Submission.new(request.spec.name, "kubernetes")

    def ask(manifest: Path) -> str:
        note(apply(manifest.read_text(encoding="utf-8")))
        return nearest_label(submission.job_name)

    job = submission.hand_over(request.paths, _manifest(request, submission), ask)
    return f"submitted {request} to Kubernetes, named {job}"


def _manifest(request: Request, submission: Submission) -> str:
    """A Job, or a CronJob, with the study file in a ConfigMap."""
    _check(request)
    spec, cluster = request.spec, request.cluster
    assert cluster.image is not None
    assert cluster.mem is not None
    objects = build_job(
        name=nearest_label(submission.job_name),
        study_name=spec.name,
        image=cluster.image,
        n_agents=request.n_agents,
        cpu=str(cluster.cpus),
        memory=f"{cluster.mem}i",  # Slurm's G is 2**30 as well
        n_gpus=int(cluster.gpus_per_node or 0),
        n_parallel=cluster.array_parallelism,
        study_file_text=spec.path.read_text(encoding="utf-8"),
        volume_claim=cluster.volume_claim,
        secrets=[cluster.secret] if cluster.secret else [],
        time_limit_s=cluster.time,
    )
    if request.every_s is not None:
        zone = cluster.time_zone or _TIME_ZONE
        begin = (request.begin or datetime.now()).astimezone(_zone(zone))
        line = cron_line(request.every_s, begin)
        if line is None:
            raise SpecError(
                "--every: cron knows parts of an hour, parts of a day, a day and a week alone"
            )
        objects = build_schedule(objects, cron=line, time_zone=zone)
    return render_manifest(objects)


def _check(request: Request) -> None:
    spec, cluster = request.spec, request.cluster
    missing = [key for key in _NEEDED if getattr(cluster, key) is None]
    if missing:
        raise SpecError(
            f"{spec.path}: Kubernetes wants {', '.join(missing)} under `cluster`, or as "
            + ", ".join(f"--{key}" for key in missing)
        )
    if isinstance(cluster.gpus_per_node, str):
        raise SpecError(
            f"{spec.path}: Kubernetes takes a number of GPUs, got {cluster.gpus_per_node!r}"
        )
    if spec.storage == "auto" and cluster.volume_claim is None:
        raise SpecError(
            f"{spec.place('storage')}: each pod would have a journal of its own; use "
            "postgresql+psycopg://..., or name a volume that all share with --volume-claim"
        )
    if request.begin is not None and request.every_s is None:
        raise SpecError("--begin: a Job of Kubernetes begins at once; say --every as well")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise SpecError(
            f"--time-zone: there is no time zone {name!r}; one is Europe/Zurich"
        ) from exc
