"""What the code of a trial has logged beside epochs, as the trial's event log has it."""

from collections.abc import Mapping

from sweeper.events import Event, FileLogged, TagsSet


class LoggedSoFar:
    """Files and tags of one trial, which are not logged once more as they are."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._tags: dict[str, str] = {}

    @property
    def tags(self) -> Mapping[str, str]:
        """Of the run, by name."""
        return self._tags

    def is_new(self, event: Event) -> bool:
        """Whether it tells something; a trial that goes on says all of it again."""
        if isinstance(event, FileLogged):
            return self._files.get(event.path) != event.sha256
        if isinstance(event, TagsSet):
            return not event.tags.items() <= self._tags.items()
        return True

    def add(self, event: Event) -> None:
        """It stands in the log."""
        if isinstance(event, FileLogged):
            self._files[event.path] = event.sha256
        elif isinstance(event, TagsSet):
            self._tags |= event.tags
