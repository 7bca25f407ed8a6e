"""``data.validation``: which rows are held out; ``data.test``: which are not read."""

from collections.abc import Mapping
from typing import Annotated, Any, final

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

Word = bool | int | str
_CLOSED = ConfigDict(extra="forbid")
Share = Annotated[float, Field(gt=0, lt=1)]
#: Of the rows that are held out, where the file does not say.
DEFAULT_SHARE = 0.1


class _OfGroups(TypedDict, total=False):
    share: Share


@final
class GroupHoldout(_OfGroups):
    """Whole groups: no word of the column ``by`` stands on both sides."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    by: str


class _OfColumn(TypedDict, total=False):
    test: Word


@final
class ColumnHoldout(_OfColumn):
    """Rows whose ``column`` says ``value``; those that say ``test`` are not read at all."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    column: str
    value: Word


@final
class TestRows(TypedDict):
    """Rows whose ``column`` says ``value``, or one of several."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    column: str
    value: Word | Annotated[list[Word], Field(min_length=1)]


@final
class FileHoldout(TypedDict):
    """The rows of a second file with the same columns."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    path: str


Holdout = Share | GroupHoldout | ColumnHoldout | FileHoldout
#: The key by which a mapping is told to be one of them.
HOLDOUTS: Mapping[str, Any] = {"by": GroupHoldout, "column": ColumnHoldout, "path": FileHoldout}
#: Data whose rows have columns; of all others a share alone can be held out.
WITH_COLUMNS = ("table", "audio", "images", "text")
TEST_WAY = "{column: COLUMN, value: WORD} or {column: COLUMN, value: [WORD, ...]}"
WAYS = "a share in (0, 1), {by: COLUMN}, {column: COLUMN, value: WORD} or {path: FILE}"


def share_of(holdout: Holdout) -> float:
    """Of the rows, or where whole groups are held out about that."""
    if isinstance(holdout, float):
        return holdout
    return holdout.get("share", DEFAULT_SHARE) if "by" in holdout else DEFAULT_SHARE


def marking_column(holdout: Holdout) -> str | None:
    """The column that tells the rows apart, which is no input; None if there is none."""
    if isinstance(holdout, float) or "path" in holdout:
        return None
    return holdout["by"] if "by" in holdout else holdout["column"]
