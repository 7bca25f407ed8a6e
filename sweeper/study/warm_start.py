"""What a study knows from an earlier one: settings and what they came to, kept in its storage.

They are taken once, before the first trial, so whatever becomes of their source changes nothing.
They are no trials of this study: none counts towards the goal or can be its best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweeper.config.rules import setting_fault
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.errors import StudyError
from sweeper.study.attributes import OPTUNA_STATE, Attr, read_attribute
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.samplers.window import TRANSFERRING

#: Among Optuna's system attributes: the user's are read at every look, and these are big.
_KEY = "sweeper.warm_start"
#: The model of conditional_gp holds 160 of them, the window of any sampler as many as trials.
MOST_KEPT = 1000


@dataclass(frozen=True)
class KnownTrial:
    """A setting of this study's space that was tried elsewhere.

    Attributes:
        state: How that ended; of one that diverged there are no values.
        params: Of the ranges that count in it, by dotted name.
        values: The metrics of the objective.
        curve: Epoch -> the metric, where the epochs of both studies compare.
    """

    state: Literal["complete", "pruned", "diverged"]
    params: Mapping[str, Scalar]
    values: Sequence[float]
    curve: Mapping[int, float]


@dataclass(frozen=True)
class WarmStart:
    """What was taken of an earlier study or experiment.

    Attributes:
        source: Whose trials they are, for people: ``trials of NAME``.
        n_trials: That had ended there.
        n_fitting: That fit this study's space.
        misfits: Why others do not -> how many.
        known: Those that fit, the most telling first, up to ``MOST_KEPT``.
    """

    source: str
    n_trials: int
    n_fitting: int
    misfits: Mapping[str, int]
    known: Sequence[KnownTrial]

    @property
    def told(self) -> str:
        """How many fit, and why others do not, in one line."""
        said = f"{self.n_fitting:,} of {self.n_trials:,} {self.source} fit this space"
        if n_unfit := self.n_trials - self.n_fitting:
            said += f"; {n_unfit:,} {'does' if n_unfit == 1 else 'do'} not ({self._reasons()})"
        if self.n_fitting > len(self.known):
            said += f"; of them the best and the latest are kept, {len(self.known):,} in all"
        return said

    def explain(self, sampler: str) -> str:
        """The same, and whether the sampler that draws makes anything of it."""
        return self.told + (
            "" if sampler in TRANSFERRING else f"; {sampler} learns nothing from them"
        )

    def _reasons(self) -> str:
        by_number = sorted(self.misfits.items(), key=lambda reason: -reason[1])
        if len(by_number) == 1:
            return by_number[0][0]
        return ", ".join(f"{n:,} {reason}" for reason, n in by_number)


def keep_warm_start(storage: BaseStorage, study_id: int, warm: WarmStart) -> None:
    """Let all workers of a study begin with it, from now on."""
    with durable(Step.ATTRIBUTE):
        storage.set_study_system_attr(study_id, _KEY, asdict(warm))


def find_warm_start(storage: BaseStorage, study_id: int) -> WarmStart | None:
    """What a study began with.

    Raises:
        StudyError: If it is nothing that sweeper writes.
    """
    kept = storage.get_study_system_attrs(study_id).get(_KEY)
    return None if kept is None else read_attribute(WarmStart, kept, "the warm start")


def known_trials(warm: WarmStart, spec: StudySpec) -> list[FrozenTrial]:
    """As samplers are shown them, numbered downwards from -1.

    Raises:
        StudyError: If one has a value that the study file does not allow.
    """
    ranges = spec.ranges()
    for trial in warm.known:
        for name, value in trial.params.items():
            if fault := setting_fault(ranges, name, value):
                raise StudyError(
                    f"the warm start in the study's storage has {name}, which {fault}"
                )
    return [_frozen(trial, -1 - at, spec) for at, trial in enumerate(warm.known)]


def _frozen(trial: KnownTrial, number: int, spec: StudySpec) -> FrozenTrial:
    ranges = spec.ranges()
    is_diverged = trial.state == "diverged"
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=OPTUNA_STATE[trial.state],
        value=None,
        values=list(trial.values) or None,
        datetime_start=None,
        datetime_complete=None,
        params=dict(trial.params),
        distributions={name: to_distribution(ranges[name]) for name in trial.params},
        user_attrs={Attr.STATE: trial.state} if is_diverged else {},
        system_attrs={},
        intermediate_values=dict(trial.curve),
    )
