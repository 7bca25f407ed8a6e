"""What Kubernetes would not take of an object, or take and never run, though its schema does.

Looked at is what a study and its user decide: names, the study file, where pods may be. All else
is the same in every manifest.
"""

from collections.abc import Iterator, Mapping
from zoneinfo import available_timezones

from sweeper.config.problems import did_you_mean, shown
from sweeper.config.urls import holds_password
from sweeper.launchers.kubernetes.names import (
    MOST_SIGNS,
    image_fault,
    label_key_fault,
    label_value_fault,
    subdomain_fault,
)
from sweeper.launchers.kubernetes.pod import Manifest

#: What a CronJob's controller puts behind its name for each Job.
_N_TIME_SIGNS = 11
#: What etcd takes of one object.
_MOST_BYTES = 2**20
#: Nothing runs in less; who gives less forgot the unit.
_LEAST_MEMORY = 2**20
_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def find_mistakes(manifest: Manifest) -> list[str]:
    """What is wrong with an object that :mod:`~sweeper.launchers.kubernetes.build` makes.

    Returns:
        Mistakes with place, rule and what came.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    look = _file_mistakes if kind == "ConfigMap" else _job_mistakes
    return [f"{kind}/{name}: {mistake}" for mistake in look(manifest)]


def _refused(place: str, fault: str, came: object) -> Iterator[str]:
    """The place, the rule, what came, and the way out if the rule has one behind a ``;``."""
    if fault:
        rule, semicolon, way_out = fault.partition(";")
        yield f"{place}: {rule}, got {shown(came)}{semicolon}{way_out}"


def _file_mistakes(config_map: Manifest) -> Iterator[str]:
    for name, text in config_map["data"].items():
        if holds_password(text):
            yield (
                f"data.{name}: holds a password, which a ConfigMap shows to all; leave it out, "
                "and put PGPASSWORD or the whole MLFLOW_TRACKING_URI into a Secret"
            )
        if (n_bytes := len(text.encode())) > _MOST_BYTES:
            yield f"data: must not be more than {_MOST_BYTES} bytes, got {n_bytes}"


def _job_mistakes(manifest: Manifest) -> Iterator[str]:
    """Of a Job or a CronJob."""
    name, spec, place = manifest["metadata"]["name"], manifest["spec"], "spec"
    n_most = MOST_SIGNS
    if manifest["kind"] == "CronJob":
        yield from _refused("spec.timeZone", _time_zone_fault(spec["timeZone"]), spec["timeZone"])
        spec, place = spec["jobTemplate"]["spec"], "spec.jobTemplate.spec"
        n_most -= _N_TIME_SIGNS
    n_most -= len(f"-{spec['completions'] - 1}")  # each pod's host has the name and its index
    if len(name) > n_most:
        fault = f"must have at most {n_most} signs, this one has {len(name)}"
        yield from _refused("metadata.name", fault, name)
    yield from _pod_mistakes(spec["template"]["spec"], f"{place}.template.spec")


def _pod_mistakes(pod: Manifest, place: str) -> Iterator[str]:
    for key, value in pod.get("nodeSelector", {}).items():
        for fault in (label_key_fault(key), label_value_fault(value)):
            yield from _refused(f"{place}.nodeSelector.{key}", fault, value)
    yield from _name_mistakes(f"{place}.priorityClassName", pod.get("priorityClassName"))
    for i, toleration in enumerate(pod.get("tolerations", ())):
        yield from _toleration_mistakes(f"{place}.tolerations[{i}]", toleration)
    for i, volume in enumerate(pod["volumes"]):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        yield from _name_mistakes(f"{place}.volumes[{i}].persistentVolumeClaim.claimName", claim)
    for i, container in enumerate(pod["containers"]):
        yield from _container_mistakes(container, f"{place}.containers[{i}]")


def _toleration_mistakes(place: str, toleration: Mapping[str, str]) -> Iterator[str]:
    operator, key = toleration.get("operator", "Equal"), toleration.get("key")
    if operator not in _OPERATORS:
        yield from _refused(f"{place}.operator", f"must be {' or '.join(_OPERATORS)}", operator)
    effect, value = toleration.get("effect"), toleration.get("value")
    if effect and effect not in _EFFECTS:
        yield from _refused(f"{place}.effect", f"must be {' or '.join(_EFFECTS)}", effect)
    if operator == "Exists" and value:
        yield from _refused(f"{place}.value", "stands beside operator Exists; drop one", value)
    if operator != "Exists" and not key:
        yield from _refused(f"{place}.key", "is needed unless operator is Exists", key)


def _container_mistakes(container: Manifest, place: str) -> Iterator[str]:
    yield from _refused(f"{place}.image", image_fault(container["image"]), container["image"])
    for i, source in enumerate(container.get("envFrom", ())):
        yield from _name_mistakes(
            f"{place}.envFrom[{i}].secretRef.name", source["secretRef"]["name"]
        )
    for key in ("limits", "requests"):
        memory = container["resources"][key]["memory"]
        fault = "is less than 1Mi; it is counted in bytes, e.g. 16Gi"
        if _n_bytes(memory) < _LEAST_MEMORY:
            yield from _refused(f"{place}.resources.{key}.memory", fault, memory)


def _name_mistakes(place: str, name: str | None) -> Iterator[str]:
    """Of another object that is named, if one is."""
    if name is not None:
        yield from _refused(place, subdomain_fault(name), name)


def _n_bytes(quantity: str) -> int:
    """Of a quantity such as ``16Gi``."""
    number, unit = int(quantity[:-2]), quantity[-2]
    return number << 10 * ("KMGT".index(unit) + 1)


def _time_zone_fault(name: str) -> str:
    """Why there is no time zone of that name, or nothing; nothing too where none is known."""
    zones = available_timezones()
    if not zones or name in zones:
        return ""
    near = did_you_mean(name, zones, otherwise="; e.g. Europe/Zurich")
    return f"there is no such time zone{near}"
