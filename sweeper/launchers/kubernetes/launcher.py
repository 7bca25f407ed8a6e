"""A study's agents as pods of Kubernetes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sweeper.config.cluster import ClusterSpec
from sweeper.config.render import render_whole
from sweeper.errors import SpecError
from sweeper.launchers.kubernetes.build import build_cron_job, build_job, build_study_file
from sweeper.launchers.kubernetes.kubectl import Place, apply, current_place, delete, is_there
from sweeper.launchers.kubernetes.manifest import render_manifest
from sweeper.launchers.kubernetes.names import nearest_label
from sweeper.launchers.kubernetes.pod import AgentPod, Manifest
from sweeper.launchers.request import Request
from sweeper.launchers.schedule import cron_line
from sweeper.launchers.submission import Submission
from sweeper.paths import RunPaths

_NEEDED = ("image", "cpus", "mem")
_TIME_ZONE = "Etc/UTC"


class KubernetesLauncher:
    """Agents as pods of an Indexed Job; see :class:`~sweeper.launchers.base.Launcher`."""

    name = "kubernetes"
    title = "Kubernetes"
    list_command = "kubectl get job,cronjob"

    def show(self, request: Request) -> list[str]:
        """The manifest.

        Raises:
            SpecError: If something is missing, or has no meaning on Kubernetes.
            LauncherError: With every mistake that Kubernetes would find, or not find.
        """
        return [_manifest(request, Submission.new(request.spec.name, self.name))]

    def submit(self, request: Request, note: Callable[[str], None]) -> str:
        """Leave the manifest in the study's folder and hand it to ``kubectl``."""
        fresh = Submission.new(request.spec.name, self.name)
        manifest = _manifest(request, fresh)
        place = current_place()
        # Kept, as by the time of `sweeper cancel` the user may work on another cluster.
        submission = replace(fresh, context=place.context, namespace=place.namespace)

        def ask(path: Path) -> str:
            note(apply(path.read_text(encoding="utf-8"), place))
            return nearest_label(submission.job_name)

        job = submission.hand_over(request, manifest, ask)
        return f"submitted {request} to Kubernetes, named {job}{_first_start(request)}"

    def find(self, submission: Submission) -> str | None:
        """The name of the Job or CronJob, where it was made."""
        name = nearest_label(submission.job_name)
        return name if is_there(name, _place_of(submission)) else None

    def queue(self, submissions: Sequence[Submission]) -> None:
        """None: pods start as nodes take them, and ``kubectl`` may turn to many clusters."""

    def cancel(
        self, submissions: Sequence[Submission], paths: RunPaths
    ) -> list["KubernetesCancellation"]:
        """One by one, as each may be on another cluster."""
        return [KubernetesCancellation(found, paths) for found in submissions]


class KubernetesCancellation:
    """Deletes a Job, which would replace pods whose agents stop, with its pods.

    Args:
        submission: To Kubernetes.
        paths: Files of its study.
    """

    def __init__(self, submission: Submission, paths: RunPaths) -> None:
        self._submission = submission
        self._paths = paths

    def begin(self) -> list[str]:
        """All of it: Kubernetes lets the agents in the pods stop."""
        submission = self._submission
        name, place = nearest_label(submission.job_name), _place_of(submission)
        said = delete(name, place).splitlines()
        if said or submission.context is not None:
            submission.close(self._paths)
        return said or [
            f"Kubernetes has nothing named {name} in {place}: it has ended, or is elsewhere"
        ]

    def finish(self, wait_s: float, note: Callable[[str], None]) -> list[str]:
        """Nothing: pods that end need no further word."""
        return []


def _place_of(submission: Submission) -> Place:
    """Where its objects were made."""
    return Place(submission.context, submission.namespace)


def _first_start(request: Request) -> str:
    if request.every_s is None:
        return ""
    now, period = datetime.now(), timedelta(seconds=request.every_s)
    begin = (request.begin or now).replace(second=0, microsecond=0)  # cron counts minutes
    return f"; it starts first at {begin if begin > now else begin + period:%Y-%m-%d %H:%M}"


def _manifest(request: Request, submission: Submission) -> str:
    """A Job, or a CronJob, with the study file in a ConfigMap."""
    _check(request)
    spec, cluster = request.spec, request.cluster
    name = nearest_label(submission.job_name)
    config = build_study_file(name, spec.name, render_whole(spec.path, spec.overrides))
    job = build_job(
        name,
        spec.name,
        _agent(cluster),
        n_agents=request.n_agents,
        n_parallel=min(cluster.array_parallelism or request.n_agents, request.n_agents),
        time_limit_s=cluster.time,
    )
    return render_manifest([config, job if request.every_s is None else _cron_job(request, job)])


def _agent(cluster: ClusterSpec) -> AgentPod:
    assert cluster.image is not None
    assert cluster.mem is not None
    return AgentPod(
        image=cluster.image,
        cpu=str(cluster.cpus),
        memory=f"{cluster.mem}i",  # Slurm's G is 2**30 as well
        n_gpus=int(cluster.gpus_per_node or 0),
        volume_claim=cluster.volume_claim,
        secrets=[cluster.secret] if cluster.secret else [],
        node_selector=cluster.node_selector or {},
        tolerations=cluster.tolerations or (),
        priority_class=cluster.priority_class,
    )


def _cron_job(request: Request, job: Manifest) -> Manifest:
    assert request.every_s is not None
    zone = request.cluster.time_zone or _TIME_ZONE
    begin = (request.begin or datetime.now()).astimezone(_zone(zone))
    line = cron_line(request.every_s, begin)
    if line is None:
        raise SpecError(
            "--every: cron knows parts of an hour, parts of a day, a day and a week alone"
        )
    return build_cron_job(job, cron=line, time_zone=zone)


def _check(request: Request) -> None:
    """Refuse what has no meaning on Kubernetes, and what would be lost there."""
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
    _check_stores(request)
    _check_begin(request)


def _check_stores(request: Request) -> None:
    """See that what agents write outlives their pods."""
    spec, cluster = request.spec, request.cluster
    if spec.storage == "auto" and cluster.volume_claim is None:
        raise SpecError(
            f"{spec.place('storage')}: each pod would have a journal of its own; use "
            "postgresql+psycopg://..., or name a volume that all share with --volume-claim"
        )
    # A volume that several pods share is a network file system, where SQLite gets damaged.
    is_on_volume = cluster.volume_claim is not None and request.n_agents == 1
    if spec.tracking.uri == "auto" and cluster.secret is None and not is_on_volume:
        raise SpecError(
            f"{spec.place('tracking')}: each pod would keep MLflow's runs to itself, and they go "
            "with it; set `tracking: {uri: ...}` to a server, or name a Secret with "
            "MLFLOW_TRACKING_URI in it by --secret; one agent alone may keep them on a volume by "
            "--volume-claim"
        )


def _check_begin(request: Request) -> None:
    if request.begin is None:
        return
    if request.every_s is None:
        raise SpecError("--begin: a Job of Kubernetes begins at once; say --every as well")
    if request.begin > datetime.now() + timedelta(seconds=request.every_s):
        raise SpecError(
            "--begin: a CronJob of Kubernetes first starts within one period, which is --every; "
            "name a moment within it, or submit later"
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise SpecError(
            f"--time-zone: there is no time zone {name!r}; one is Europe/Zurich"
        ) from exc
