"""Objects -> YAML that ``kubectl apply`` takes, unless our own rules find a mistake.

Kubernetes' published schemas know types and names of fields alone. What else its API server, its
controllers or a cluster's security policy would refuse, or take and never run, is looked for here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from sweeper.config.urls import holds_password
from sweeper.errors import LauncherError
from sweeper.launchers.kubernetes.field_path import Node, when
from sweeper.launchers.kubernetes.job import job_mistakes, schedule_mistakes
from sweeper.launchers.kubernetes.names import file_fault, subdomain_fault
from sweeper.launchers.kubernetes.objects import KubernetesObject, to_mapping
from sweeper.launchers.kubernetes.pod import label_mistakes

_VERSIONS = {"Job": "batch/v1", "CronJob": "batch/v1", "ConfigMap": "v1"}
#: What etcd takes of one object.
_MOST_BYTES = 2**20
#: Text that no YAML reader takes for anything else. PyYAML leaves 1e-4, y and 0o17 without quotes,
#: which kubectl's reader holds to be a number, true and 15.
_PLAIN = re.compile(r"[A-Za-z_/][\w./:@-]+")


def find_mistakes(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with one object although Kubernetes' schema may let it through.

    Args:
        manifest: The object as plain mappings, as YAML has it.

    Returns:
        Mistakes with place, rule and what came; values of a wrong type are left to the schema.
    """
    kind = manifest.get("kind")
    name = Node(manifest, "").at("metadata", "name").text
    root = Node(manifest, f"{kind}/{name}: ")
    return list(_object_mistakes(root))


def render_manifest(objects: Sequence[KubernetesObject]) -> str:
    """The objects as one YAML file, in their order.

    Raises:
        LauncherError: With every mistake that :func:`find_mistakes` finds, one a line.
    """
    mappings = [to_mapping(item) for item in objects]
    mistakes = [mistake for mapping in mappings for mistake in find_mistakes(mapping)]
    if mistakes:
        raise LauncherError("\n".join(mistakes))
    text: str = yaml.dump_all(
        mappings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True
    )
    return text


def _object_mistakes(root: Node) -> Iterator[str]:
    kind, name, spec = root.at("kind"), root.at("metadata", "name"), root.at("spec")
    yield from kind.beside(*_VERSIONS)
    if kind.text in _VERSIONS:
        yield from root.at("apiVersion").beside(_VERSIONS[kind.text])
    yield from label_mistakes(root.at("metadata", "labels"))
    if kind.text == "Job":
        yield from job_mistakes(name, spec)
    elif kind.text == "CronJob":
        yield from schedule_mistakes(name, spec)
    else:
        yield from when(subdomain_fault(name.text), name)
        yield from _file_mistakes(root.at("data"))


def _file_mistakes(data: Node) -> Iterator[str]:
    for key, text in data.items():
        yield from when(file_fault(key), text)
        if holds_password(text.text):
            yield (
                f"{text.path}: holds a password, which a ConfigMap shows to all; leave it out, "
                "and put PGPASSWORD or the whole MLFLOW_TRACKING_URI into a Secret"
            )
    n_bytes = sum(len(text.text.encode()) for _, text in data.items())
    if n_bytes > _MOST_BYTES:
        yield f"{data.path}: must not be more than {_MOST_BYTES} bytes, got {n_bytes}"


class _Dumper(yaml.SafeDumper):
    """Blocks for texts of several lines, quotes where a reader may err, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _PLAIN.fullmatch(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
