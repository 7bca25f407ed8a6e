"""The settings of claimed trials: what each has already, and what a sampler proposes for the rest.

Nothing is written to the storage here. The same seed and history give the same settings, so a
process that is killed before it has written them does no harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweeper.config.ranges import Range
from sweeper.config.rules import setting_fault
from sweeper.config.settings import Scalar, TrialConfig
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.study.attributes import FIXED_PARAMS, Attr
from sweeper.study.samplers.proposal import ENQUEUE, GRID, IsTried, Proposal, Request, Sampler
from sweeper.study.samplers.seeds import trial_seed
from sweeper.study.trial_cache import begun_with

Setting = Mapping[str, Scalar]


@dataclass(frozen=True)
class Drawn:
    """What a trial runs with.

    Attributes:
        config: Its settings.
        searched: Those of them that were searched, by dotted name.
        drawn_by: What drew them; empty if nothing is searched, or an older version did not keep
            it.
    """

    config: TrialConfig
    searched: Setting
    drawn_by: str


def open_sampler(
    name: str,
    spec: StudySpec,
    *,
    storage: BaseStorage,
    study_id: int,
    pruner: Callable[[], BasePruner],
) -> Sampler:
    """A sampler that lives as long as the process.

    Args:
        name: Any of the study file's sampler names but ``auto``.
        spec: The study file.
        storage: Of the study.
        study_id: In that storage.
        pruner: Of the study.
    """
    # scipy's statistics take a third of a second to import, and few commands draw.
    if name == "conditional_gp":
        from sweeper.study.samplers.conditional_gp import ConditionalGP

        return ConditionalGP(spec)
    from sweeper.study.samplers.optuna_sampler import OptunaSampler

    return OptunaSampler(name, spec, storage=storage, study_id=study_id, pruner=pruner)


def ask(
    sampler: Sampler,
    spec: StudySpec,
    *,
    trials: Sequence[FrozenTrial],
    history: Sequence[FrozenTrial],
    is_tried: IsTried,
) -> list[Drawn]:
    """Settings for claimed trials.

    What a trial has already (it was interrupted) or was enqueued with stays; the sampler draws
    the rest. When all settings were tried, one is repeated, and runs with another seed.

    Args:
        sampler: That is in use.
        spec: The study file.
        trials: In state RUNNING.
        history: What the sampler sees of the study.
        is_tried: Whether another trial has a setting.

    Raises:
        StudyError: If ``forbid`` leaves nothing that could be drawn, or a trial has a value that
            its range has not.
    """
    for trial in trials:
        _check_begun(spec, trial)
    numbers = {trial.number for trial in trials}
    others = [trial for trial in history if trial.number not in numbers]
    given = {trial.number: begun_with(trial) for trial in trials}
    requests = [Request(n, found) for n, found in given.items() if not _is_whole(spec, found)]
    proposals = sampler.ask(others, requests, is_tried) if requests else []
    proposal_of = {r.number: found for r, found in zip(requests, proposals, strict=True)}
    return [_settle(spec, trial, proposal_of.get(trial.number)) for trial in trials]


def drawn_config(spec: StudySpec, trial: FrozenTrial) -> TrialConfig:
    """What a trial ran with that has all of its settings.

    Raises:
        StudyError: If it has a value that its range has not, or lacks one.
    """
    _check_begun(spec, trial)
    if not _is_whole(spec, begun_with(trial)):
        raise StudyError(
            f"trial {trial.number} lacks settings in the storage, as it ended before they were "
            "drawn; there is nothing to train it with"
        )
    return _settle(spec, trial, None).config


def _check_begun(spec: StudySpec, trial: FrozenTrial) -> None:
    """Whoever enqueues, or writes to the storage, meets no study file that would refuse a value.

    One may name code, so what the file does not have is never used. What was enqueued for a range
    that is not drawn is left alone, as on fallback data.
    """
    ranges, fixed = spec.ranges(), trial.system_attrs.get(FIXED_PARAMS, {})
    for begun, how in ((fixed, "was enqueued with"), (trial.params, "has in the storage")):
        for name in begun.keys() & ranges.keys():
            if fault := setting_fault(ranges, name, begun[name]):
                raise StudyError(f"trial {trial.number} {how} {name}, which {fault}")


def _settle(spec: StudySpec, trial: FrozenTrial, proposal: Proposal | None) -> Drawn:
    proposed: Setting = proposal.values if proposal else {}
    values: Setting = {**proposed, **begun_with(trial)}
    searched: dict[str, Scalar] = {}

    def suggest(name: str, _: Range) -> Scalar:
        searched[name] = values[name]
        return values[name]

    config = suggest_config(spec, suggest, seed=trial_seed(spec.seed, trial.number))
    drawn_by = proposal.drawn_by if proposal else _drawn_before(spec, trial)
    return Drawn(config, searched, drawn_by)


def _drawn_before(spec: StudySpec, trial: FrozenTrial) -> str:
    """What drew a trial that lacks nothing."""
    if Attr.DRAWN_BY in trial.user_attrs:
        return str(trial.user_attrs[Attr.DRAWN_BY])
    if not spec.ranges() or not _is_whole(spec, trial.system_attrs.get(FIXED_PARAMS, {})):
        return ""
    return GRID if spec.sampler.name == "grid" else ENQUEUE


def _is_whole(spec: StudySpec, given: Setting) -> bool:
    """Whether values are there for all ranges that count."""
    missing: list[str] = []

    def suggest(name: str, values: Range) -> Scalar:
        if name in given:
            return given[name]
        missing.append(name)
        return first_value(name, values)

    suggest_config(spec, suggest, seed=0)
    return not missing
