"""A study's agents as pods of Kubernetes."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sweeper.errors import LauncherError, SpecError
from sweeper.launchers.kubernetes import apply, build_job, build_schedule, render_manifest
from sweeper.launchers.kubernetes.names import nearest_label
from sweeper.launchers.schedule import cron_line
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec
from sweeper.spec.cluster import ClusterSpec

_NEEDED = ("image", "cpus", "mem")
_TIME_ZONE = "Etc/UTC"


def kubernetes_manifest(
    submission: Submission,
    spec: StudySpec,
    cluster: ClusterSpec,
    *,
    begin: datetime | None,
    every_s: int | None,
) -> str:
    """The manifest of a Job, or of a CronJob, with the study file in a ConfigMap.

    Args:
        submission: Names them.
        spec: The study.
        cluster: What its agents need.
        begin: Of a schedule, in local time; None for now.
        every_s: Seconds between two starts of the whole; None for a single one.

    Raises:
        SpecError: If something is missing, or has no meaning on Kubernetes.
        LauncherError: With every mistake that Kubernetes would find, or not find.
    """
    _check(spec, cluster, begin, every_s)
    assert cluster.image is not None
    assert cluster.mem is not None
    objects = build_job(
        name=nearest_label(submission.job_name),
        study_name=spec.name,
        image=cluster.image,
        n_agents=cluster.jobs or 1,
        cpu=str(cluster.cpus),
        memory=f"{cluster.mem}i",  # Slurm's G is 2**30 as well
        n_gpus=int(cluster.gpus_per_node or 0),
        n_parallel=cluster.array_parallelism,
        study_file_text=spec.path.read_text(encoding="utf-8"),
        volume_claim=cluster.volume_claim,
        secrets=[cluster.secret] if cluster.secret else [],
        time_limit_s=cluster.time,
    )
    if every_s is not None:
        zone = cluster.time_zone or _TIME_ZONE
        line = cron_line(every_s, (begin or datetime.now()).astimezone(_zone(zone)))
        if line is None:
            raise SpecError(
                "--every: cron knows parts of an hour, parts of a day, a day and a week alone"
            )
        objects = build_schedule(objects, cron=line, time_zone=zone)
    return render_manifest(objects)


def _check(
    spec: StudySpec, cluster: ClusterSpec, begin: datetime | None, every_s: int | None
) -> None:
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
    if begin is not None and every_s is None:
        raise SpecError("--begin: a Job of Kubernetes begins at once; say --every as well")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise SpecError(
            f"--time-zone: there is no time zone {name!r}; one is Europe/Zurich"
        ) from exc


def submit_manifest(submission: Submission, manifest: str, *, paths: RunPaths) -> str:
    """Leave the manifest in the study's folder and hand it to kubectl; what that says.

    Raises:
        LauncherError: If there is no kubectl, or it refuses.
    """
    submission.begin(paths, manifest)
    try:
        said = apply(manifest)
    except LauncherError:
        submission.forget(paths)
        raise
    submission.note_job(paths, nearest_label(submission.job_name))
    return said.replace("\n", ", ")
