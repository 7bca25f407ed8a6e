"""Which versions of a study's own code its trials ran with."""

from collections.abc import Mapping

from sweeper.study.attributes import Attr, StudyAttributes, below
from sweeper.study.storage.backend import store_errors

_PREFIX = f"{Attr.CODE}."


def code_versions(attributes: StudyAttributes) -> dict[str, int]:
    """Digest of each version -> number of the first trial that ran with it, in that order."""
    found = below(_PREFIX, attributes.read())
    versions = {digest: int(number) for digest, number in found}
    return dict(sorted(versions.items(), key=lambda version: version[1]))


@store_errors()
def keep_code_version(attributes: StudyAttributes, digest: str, number: int) -> None:
    """Keep that a trial runs with a version.

    Args:
        attributes: Of the study.
        digest: See :func:`~sweeper.config.user_code.code_digest`; not empty.
        number: Of the trial.
    """
    attributes.settle(f"{_PREFIX}{digest}", number)


def explain_change(digest: str, versions: Mapping[str, int]) -> str:
    """What to tell before trials run with a version that none had yet; empty if there were none.

    Args:
        digest: Of the code as it is now.
        versions: Of the trials so far.
    """
    if not digest or not versions or digest in versions:
        return ""
    latest = list(versions)[-1]
    return (
        f"your own code has changed since this study's trials began with it: version {digest}, "
        f"trials so far had {latest}; they may not compare. status and the tag sweeper.code of "
        "each run keep them apart; `--name NEW` begins anew"
    )
