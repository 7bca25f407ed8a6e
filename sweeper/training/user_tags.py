"""Tags of its run that a trial's own code sets."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping

from sweeper.config.names import tag_name_fault
from sweeper.errors import TrainingError

#: MLflow would cut what is longer.
_MOST_SIGNS = 8000


class Tags(MutableMapping[str, object]):
    """A dict of texts, of which each that is set stands in the trial's event log at once.

    Args:
        known: That earlier processes of the trial have set.
        tell: Writes those that are new.
    """

    def __init__(
        self, known: Mapping[str, str], tell: Callable[[Mapping[str, str]], None]
    ) -> None:
        self._tags = dict(known)
        self._tell = tell

    def __setitem__(self, name: str, value: object) -> None:
        """Set a tag; what is no text is made one.

        Raises:
            TrainingError: If MLflow cannot keep it, or the name is another's.
        """
        fault = tag_name_fault(name) if isinstance(name, str) else "it must be a text"
        if fault:
            raise TrainingError(f"trial.tags: {name!r} is no name for a tag: {fault}")
        text = str(value)
        if len(text) > _MOST_SIGNS:
            raise TrainingError(
                f"trial.tags: {name} has {len(text):,} signs, and MLflow keeps {_MOST_SIGNS:,}; "
                "log it by trial.log_artifact instead"
            )
        self._tell({name: text})
        self._tags[name] = text

    def __getitem__(self, name: str) -> str:
        """What it was set to, as a text."""
        return self._tags[name]

    def __delitem__(self, name: str) -> None:
        """Refused, as MLflow may have it already."""
        raise TrainingError(f"trial.tags: {name} was set and stays; set it to something else")

    def __iter__(self) -> Iterator[str]:
        """Over the names."""
        return iter(self._tags)

    def __len__(self) -> int:
        """How many are set."""
        return len(self._tags)

    def __repr__(self) -> str:
        """As that of a dict."""
        return repr(self._tags)
