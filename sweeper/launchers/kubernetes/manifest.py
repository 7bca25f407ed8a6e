"""Objects -> YAML that ``kubectl apply`` takes, unless there are mistakes in them."""

import re
from collections.abc import Sequence
from typing import Any

import yaml

from sweeper.errors import LauncherError
from sweeper.launchers.kubernetes.mistakes import find_mistakes
from sweeper.launchers.kubernetes.pod import Manifest

#: Text that no YAML reader takes for anything else. PyYAML leaves 1e-4, y and 0o17 without quotes,
#: which kubectl's reader holds to be a number, true and 15.
_PLAIN = re.compile(r"[A-Za-z_/][\w./:@-]+")


def render_manifest(objects: Sequence[Manifest]) -> str:
    """The objects as one YAML file, in their order.

    Raises:
        LauncherError: With every mistake that there is, one a line.
    """
    if mistakes := [mistake for each in objects for mistake in find_mistakes(each)]:
        raise LauncherError("\n".join(mistakes))
    text: str = yaml.dump_all(
        objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True, explicit_start=True
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Blocks for texts of several lines, quotes where a reader may err, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if _PLAIN.fullmatch(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
