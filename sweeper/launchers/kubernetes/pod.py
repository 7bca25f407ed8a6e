"""Rules of a pod."""

from collections.abc import Iterator

from sweeper.launchers.kubernetes.container import container_mistakes, root_mistakes
from sweeper.launchers.kubernetes.field_path import Node, when
from sweeper.launchers.kubernetes.names import (
    label_fault,
    label_key_fault,
    label_value_fault,
    subdomain_fault,
)

#: An agent that is told to stop has drained within 20 s; the rest is the container's own end.
_LEAST_GRACE_S = 30
#: Where the name of what a volume comes from stands.
_SOURCE_NAMES = {
    "configMap": "name",
    "secret": "secretName",
    "persistentVolumeClaim": "claimName",
}


def pod_mistakes(pod: Node) -> Iterator[str]:
    """What of a pod Kubernetes, or a careful cluster, would not take."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.at(key).value is True:
            yield pod.at(key).mistake("an agent needs nothing of its node; drop it")
    yield from root_mistakes(pod.at("securityContext"))
    yield from pod.at("terminationGracePeriodSeconds").below(
        _LEAST_GRACE_S, f"an agent needs up to 20 s to put its trials back; {_LEAST_GRACE_S} do"
    )
    yield from _placement_mistakes(pod)
    yield from _volume_mistakes(pod.at("volumes"))
    yield from _containers_mistakes(pod)


def label_mistakes(labels: Node) -> Iterator[str]:
    """Of labels, or of a selector of them."""
    for key, value in labels.items():
        yield from when(label_key_fault(key), value)
        yield from when(label_value_fault(value.text), value)


def _placement_mistakes(pod: Node) -> Iterator[str]:
    yield from label_mistakes(pod.at("nodeSelector"))
    priority = pod.at("priorityClassName")
    if priority.is_given:
        yield from when(subdomain_fault(priority.text), priority)
    for toleration in pod.at("tolerations").each():
        operator = toleration.at("operator")
        yield from operator.beside("Equal", "Exists", default="Equal")
        effect = toleration.at("effect")
        if effect.value:
            yield from effect.beside("NoSchedule", "PreferNoSchedule", "NoExecute")
        if operator.text == "Exists" and toleration.at("value").value:
            yield toleration.at("value").mistake("stands beside operator Exists; drop one")
        if operator.text != "Exists" and not toleration.at("key").text:
            yield toleration.at("key").mistake("is needed unless operator is Exists")


def _volume_mistakes(volumes: Node) -> Iterator[str]:
    yield from volumes.repeated("name")
    for volume in volumes.each():
        yield from when(label_fault(volume.at("name").text), volume.at("name"))
        sources = {key: node for key, node in volume.items() if key != "name" and node.is_given}
        if len(sources) != 1:
            yield volume.mistake("must have one source, e.g. emptyDir: {}")
        if "hostPath" in sources:
            yield sources["hostPath"].mistake("an agent needs nothing of its node; claim a volume")
        for key, source in sources.items():
            if key in _SOURCE_NAMES:
                name = source.at(_SOURCE_NAMES[key])
                yield from when(subdomain_fault(name.text), name)


def containers_of(pod: Node) -> Iterator[Node]:
    """All containers of a pod, in the order in which they start."""
    for key in ("initContainers", "containers"):
        yield from pod.at(key).each()


def _containers_mistakes(pod: Node) -> Iterator[str]:
    if not pod.at("containers").value:
        yield pod.at("containers").mistake("must have one container at least")
    volumes = [volume.at("name").text for volume in pod.at("volumes").each()]
    names = set()
    for container in containers_of(pod):
        name = container.at("name")
        if name.text in names:
            yield name.mistake("is there twice; rename or drop one")
        names.add(name.text)
        yield from container_mistakes(container, volumes)
