"""Which sampler draws, how much of the study it sees, and when that has become too dear."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean, median
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweeper.config.study import StudySpec
from sweeper.study.attributes import Attr, StudyAttributes
from sweeper.study.samplers.auto import CHEAPER, choose_sampler
from sweeper.study.samplers.window import TrialWindow
from sweeper.study.storage.backend import store_errors
from sweeper.study.trial_cache import TrialCache
from sweeper.study.warm_start import WarmStart, find_warm_start, known_trials

#: Trials measured before the price is judged.
_JUDGED_TRIALS = 5
#: What a draw may cost, whichever is more: a share of training, and seconds.
_MOST_ASKING, _MOST_ASKING_S = 0.1, 1.0


class SamplerInUse:
    """The sampler that all workers of a study draw with, as its storage says.

    It changes while the study runs, should asking it get too dear.

    Args:
        storage: Of the study.
        study_id: In that storage.
        spec: The study file.
        goal: Finished trials to reach.
    """

    def __init__(self, storage: BaseStorage, study_id: int, spec: StudySpec, goal: int) -> None:
        self._storage = storage
        self._study_id = study_id
        self._attributes = StudyAttributes(storage, study_id)
        self._spec = spec
        self._goal = goal

    @cached_property
    def warm_start(self) -> WarmStart | None:
        """What it begins with of an earlier study; settled before the first trial."""
        with store_errors():
            return find_warm_start(self._storage, self._study_id)

    @cached_property
    def known(self) -> Sequence[FrozenTrial]:
        """The trials of that, the most telling first."""
        return known_trials(self.warm_start, self._spec) if self.warm_start else ()

    @property
    def is_auto(self) -> bool:
        """Whether the study file leaves the choice to us."""
        return self._spec.sampler.name == "auto"

    @store_errors()
    def explain(self) -> tuple[str, str]:
        """Its name, and why it is that; ``auto`` may have moved on since the study began."""
        attributes = self._attributes.read()
        name, why = self._name(attributes)
        unseen = self._window(name, attributes).explain(self._goal)
        return name, "; ".join(filter(None, (why, unseen)))

    @store_errors()
    def window(self) -> TrialWindow:
        """What it sees of the study; its price may have made that less."""
        attributes = self._attributes.read()
        name, _ = self._name(attributes)
        return self._window(name, attributes)

    @store_errors()
    def change(self, name: str, why: str) -> None:
        """Let all workers draw with another sampler from now on, if the file says ``auto``."""
        self._attributes.put(Attr.SAMPLER, [name, why])

    @store_errors()
    def narrow(self, window: TrialWindow) -> None:
        """Let it see that from now on, in all workers."""
        self._attributes.put(Attr.WINDOW, list(window))

    def _name(self, attributes: Mapping[str, Any]) -> tuple[str, str]:
        if self.is_auto and Attr.SAMPLER in attributes:
            name, why = attributes[Attr.SAMPLER]
            return name, why
        return choose_sampler(self._spec)

    def _window(self, sampler: str, attributes: Mapping[str, Any]) -> TrialWindow:
        used = attributes.get(Attr.WINDOW)
        return TrialWindow(*used) if used and used[0] == sampler else TrialWindow.at_first(sampler)


class AskingBudget:
    """What one worker's asking has cost, held to a second or a tenth of training.

    A sampler that is too dear sees fewer trials from then on, one named in the study file as
    well. Where that does not help, ``auto`` moves on to a cheaper one.

    Args:
        sampler: Of the study.
        cache: What this process has seen of its trials.
        note: Told when it has become too dear.
    """

    def __init__(
        self, sampler: SamplerInUse, cache: TrialCache, note: Callable[[str], None]
    ) -> None:
        self._sampler = sampler
        self._cache = cache
        self._note = note
        self._window = sampler.window()
        self._spent: list[tuple[float, float]] = []

    @store_errors()
    def spend(self, asking_s: float, training_s: float) -> None:
        """Count one trial.

        Args:
            asking_s: Seconds until its settings were drawn, >= 0.
            training_s: All its other seconds, >= 0.

        Raises:
            StoreError: If the storage fails.
        """
        window = self._sampler.window()
        if window != self._window:  # another worker has judged
            self._window = window
            self._spent.clear()  # it was the old one's price
        self._spent.append((asking_s, training_s))
        if len(self._spent) >= _JUDGED_TRIALS:
            self._judge()
            self._spent.clear()

    def _judge(self) -> None:
        # The median, as the first call of a sampler imports what it needs.
        asking_s = median(asking for asking, _ in self._spent)
        training_s = fmean(training for _, training in self._spent)
        if asking_s <= max(_MOST_ASKING_S, _MOST_ASKING * training_s):
            return
        name = self._window.sampler
        why = (
            f"asking {name} took {asking_s:.1f} s a trial beside {training_s:.1f} s of training; "
            "it may take a second, or a tenth of training"
        )
        if narrower := self._window.narrower(self._cache, self._sampler.known, why):
            self._sampler.narrow(narrower)
        elif self._sampler.is_auto and name in CHEAPER:
            self._sampler.change(CHEAPER[name], why)
        else:
            return
        name, why = self._sampler.explain()
        self._note(f"sampler {name}: {why}")
