"""Rules of one container."""

from collections.abc import Collection, Iterator

from sweeper.config.urls import holds_password
from sweeper.launchers.kubernetes.field_path import Node, when
from sweeper.launchers.kubernetes.names import (
    image_fault,
    label_fault,
    subdomain_fault,
    variable_fault,
)
from sweeper.launchers.kubernetes.quantity import resource_mistakes

_IN_A_SECRET = "holds a password; put it into a Secret and name that in envFrom"


def container_mistakes(container: Node, volumes: Collection[str]) -> Iterator[str]:
    """What of a container Kubernetes, or a careful cluster, would not take.

    Args:
        container: As its pod has it.
        volumes: Names of the pod's volumes.
    """
    name, image = container.at("name"), container.at("image")
    yield from when(label_fault(name.text), name)
    yield from when(image_fault(image.text), image)
    yield from _environment_mistakes(container)
    yield from resource_mistakes(container.at("resources"))
    yield from _mount_mistakes(container.at("volumeMounts"), volumes)
    yield from _security_mistakes(container.at("securityContext"))


def _environment_mistakes(container: Node) -> Iterator[str]:
    yield from container.at("env").repeated("name")
    for variable in container.at("env").each():
        name, value = variable.at("name"), variable.at("value")
        yield from when(variable_fault(name.text), name)
        if holds_password(value.text):
            yield value.mistake(_IN_A_SECRET)
        if value.is_given and variable.at("valueFrom").is_given:
            yield variable.at("valueFrom").mistake("stands beside a value; drop one")
    for source in container.at("envFrom").each():
        kinds = [node.at("name") for _, node in source.items() if node.at("name").is_given]
        if len(kinds) != 1:
            yield source.mistake("must have one secretRef or one configMapRef with a name")
        for name in kinds:
            yield from when(subdomain_fault(name.text), name)


def _mount_mistakes(mounts: Node, volumes: Collection[str]) -> Iterator[str]:
    yield from mounts.repeated("mountPath")
    for mount in mounts.each():
        name, path = mount.at("name"), mount.at("mountPath")
        if name.text not in volumes:
            known = ", ".join(sorted(volumes)) or "none"
            yield name.mistake(f"there is no such volume; the pod has {known}")
        if not path.text.startswith("/") or ":" in path.text:
            yield path.mistake("must be an absolute path without a colon")


def _security_mistakes(security: Node) -> Iterator[str]:
    for key in ("privileged", "allowPrivilegeEscalation"):
        if security.at(key).value is True:
            yield security.at(key).mistake("an agent needs no privileges; drop it")
    added = security.at("capabilities", "add")
    if added.value:
        yield added.mistake("an agent needs no capabilities; drop it")
    yield from root_mistakes(security)


def root_mistakes(security: Node) -> Iterator[str]:
    """Of the security context of a pod or a container: that it runs as root."""
    if security.at("runAsNonRoot").value is False:
        yield security.at("runAsNonRoot").mistake("an agent needs no root; set it to true")
    yield from security.at("runAsUser").below(1, "an agent needs no root; name another user")
