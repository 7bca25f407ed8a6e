import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.study.attributes import Attr
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.samplers.window import TrialWindow
from sweeper.study.study import SweepStudy
from sweeper.trial import FailureKind, TrialState
from tests.support.sweep_studies import begin_in_memory, numbers, reports, run_trial

ENDED = (OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL)


def begin(folder: Path, sampler: str, *, n_trials: int = 2000) -> SweepStudy:
    return begin_in_memory(folder, sampler={"name": sampler}, budget={"trials": n_trials})


def add(
    study: SweepStudy,
    n: int,
    state: OptunaState = OptunaState.COMPLETE,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Trials that ended one after the other, each worse than the one before."""
    [(name, values)] = study.spec.ranges().items()
    begun = len(study.trials())
    for number in range(begun, begun + n):
        trial = optuna.trial.create_trial(
            state=state,
            value=None if state == OptunaState.FAIL else -float(number),
            params={name: 0.001 + number / 1e6},
            distributions={name: to_distribution(values)},
            user_attrs=dict(attributes or {}),
        )
        study.storage.create_new_trial(study.study_id, trial)


def seen(study: SweepStudy, window: TrialWindow | None = None) -> Sequence[FrozenTrial]:
    """Ended trials that a sampler finds."""
    shown = (window or study.sampler.window()).trials(study.cache)
    return [trial for trial in shown if trial.state in ENDED]


@pytest.mark.parametrize(
    ("sampler", "most", "n_best"),
    [("conditional_gp", 1000, 25), ("gp", 200, 20), ("tpe", 1000, 25), ("cmaes", 1000, 25)],
)
def test_a_sampler_that_gets_dearer_sees_the_best_and_the_latest(
    tmp_path: Path, sampler: str, most: int, n_best: int
) -> None:
    study = begin(tmp_path, sampler)
    n_waiting = len(study.trials())
    add(study, most + 200)
    found = [number - n_waiting for number in numbers(seen(study))]
    assert found == [*range(n_best), *range(200 + n_best, most + 200)]


@pytest.mark.parametrize("sampler", ["random", "qmc", "nsga2"])
def test_the_other_samplers_see_all(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler)
    add(study, 1200)
    assert len(seen(study)) == 1200


def test_what_fits_is_seen_whole_but_for_failures(tmp_path: Path) -> None:
    study = begin(tmp_path, "tpe")
    add(study, 30)
    add(study, 5, OptunaState.PRUNED)
    add(study, 3, OptunaState.FAIL)
    assert [trial.state for trial in seen(study)] == [OptunaState.COMPLETE] * 30 + [
        OptunaState.PRUNED
    ] * 5
    # gp models complete trials only, so that others take no room.
    assert {trial.state for trial in seen(study, TrialWindow.at_first("gp"))} == {
        OptunaState.COMPLETE
    }
    assert {trial.state for trial in seen(study, TrialWindow.at_first("conditional_gp"))} == {
        *ENDED
    }


@pytest.mark.parametrize("sampler", ["conditional_gp", "gp", "tpe", "cmaes"])
def test_each_sees_what_ended_badly(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler)
    add(study, 2)
    add(study, 1, OptunaState.PRUNED, {str(Attr.STATE): TrialState.DIVERGED})
    add(study, 1, OptunaState.FAIL, {str(Attr.FAILURE): FailureKind.TRIAL_TIMEOUT})
    assert numbers(seen(study))[-2:] == [len(study.trials()) - 2, len(study.trials()) - 1]


def test_what_is_not_seen_does_not_count_in_a_draw(tmp_path: Path) -> None:
    drawn = []
    for i, window in enumerate((None, None, TrialWindow("tpe", 100, "asking was dear"))):
        study = begin(tmp_path / str(i), "tpe")
        add(study, 150)
        if window:
            study.sampler.narrow(window)
        run_trial(study, reports(0.5))
        drawn.append(study.trials()[0].params)
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_half_of_what_is_seen_is_left_but_never_few(tmp_path: Path) -> None:
    study = begin(tmp_path, "tpe")
    add(study, 250)
    window = study.sampler.window()
    assert window.narrower(study.cache, (), "dear") is None
    add(study, 50)
    assert window.narrower(study.cache, (), "dear") == TrialWindow("tpe", 250, "dear")
    add(study, 300)
    assert window.narrower(study.cache, (), "dear") == TrialWindow("tpe", 300, "dear")
    assert TrialWindow.at_first("nsga2").narrower(study.cache, (), "dear") is None


def test_all_workers_see_as_little_until_the_sampler_is_another(tmp_path: Path) -> None:
    study = begin(tmp_path, "tpe")
    narrow = TrialWindow("tpe", 100, "asking was dear")
    study.sampler.narrow(narrow)
    again = SweepStudy(study.spec, study.paths, study.storage)
    assert again.sampler.window() == narrow
    other = begin(tmp_path / "other", "gp")
    other.sampler.narrow(narrow)
    assert other.sampler.window() == TrialWindow("gp", 200)


@pytest.mark.parametrize(
    ("n_trials", "window", "why"),
    [
        (1000, None, "named in the study file"),
        (
            1001,
            None,
            "named in the study file; it sees the best 25 and the latest 975 trials: each trial "
            "more makes asking dearer",
        ),
        (
            400,
            TrialWindow("tpe", 200, "asking was dear"),
            "named in the study file; it sees the best 20 and the latest 180 trials: asking was "
            "dear",
        ),
    ],
)
def test_what_a_sampler_does_not_see_is_told(
    tmp_path: Path, n_trials: int, window: TrialWindow | None, why: str
) -> None:
    study = begin(tmp_path, "tpe", n_trials=n_trials)
    if window:
        study.sampler.narrow(window)
    assert study.sampler.explain() == ("tpe", why)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_what_a_sampler_proposes_is_not_written_twice(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler)
    add(study, 12)
    before = dict(study.trials()[0].system_attrs)
    run_trial(study, reports(0.5))
    assert study.trials()[0].params
    assert study.trials()[0].system_attrs == before


def test_trials_of_an_earlier_study_fill_what_the_studys_own_leave(tmp_path: Path) -> None:
    """The most telling last, next to the study's own."""
    study = begin(tmp_path, "gp")
    known = [copy.copy(study.trials()[0]) for _ in range(150)]
    for at, trial in enumerate(known):
        trial.number, trial.state = -1 - at, OptunaState.COMPLETE
    for n_own, n_known in [(0, 150), (120, 80), (300, 0)]:
        add(study, n_own - len(seen(study)))
        shown = study.sampler.window().trials(study.cache, known)
        ended = numbers([trial for trial in shown if trial.state in ENDED])
        assert ended[:n_known] == list(range(-n_known, 0))
        assert len(ended) == min(n_own + 150, 200)
    assert study.sampler.window().narrower(study.cache, known, "dear") is not None
    other = begin(tmp_path / "b", "gp")
    assert other.sampler.window().narrower(other.cache, known, "dear") == TrialWindow(
        "gp", 100, "dear"
    )
    for sampler in ("nsga2", "cmaes"):  # they learn from trials of their own alone
        shown = TrialWindow.at_first(sampler).trials(other.cache, known)
        assert numbers(shown) == numbers(other.trials())
