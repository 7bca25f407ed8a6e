"""Trials are chosen, trained again twice, and compared."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.prepare import import_user_code
from sweeper.commands.verify.compare import (
    Difference,
    Verdict,
    compare_curves,
    compare_weights,
)
from sweeper.commands.verify.conditions import CannotVerifyError, Conditions, find_conditions
from sweeper.commands.verify.report import TrialReport, explain, summary
from sweeper.commands.verify.retrain import Run, require_data, shown, train_alone
from sweeper.config.study import StudySpec
from sweeper.config.user_code import code_digest
from sweeper.study.create import refuse_changes
from sweeper.study.find import find_study
from sweeper.study.recorded_trial import RecordedTrial, read_recorded_trial
from sweeper.study.selection import choose_complete, require_comparable
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.text import format_count, format_seconds, redacted
from sweeper.trial import TrialState
from sweeper.workers.gpus import keep_to_own_gpus


def verify_study(
    spec: StudySpec,
    root: Path,
    *,
    n_trials: int = 3,
    number: int | None = None,
    as_json: bool = False,
    show: Callable[[str], None],
    note: Callable[[str], None],
) -> bool:
    """Train trials of a study again and say whether they come to what is recorded of them.

    Nothing of the study is written: neither its storage nor its files, nor MLflow.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        n_trials: So many complete trials, >= 1.
        number: Of the one trial that is wanted instead.
        as_json: For scripts.
        show: Takes the answer.
        note: Told of progress.

    Returns:
        Whether each of them does.

    Raises:
        SweeperError: If there is no such study or trial, or the file's search has changed.
    """
    keep_to_own_gpus()
    study, trials = _read(spec, root, n_trials, number)
    import_user_code(study.spec)
    note(_announce(trials, n_trials if number is None else 1))
    verifier = _Verifier(study, code_digest(study.spec), note)
    reports: list[TrialReport] = []
    for trial in trials:
        reports.append(verifier.verify(trial))
        if not as_json:
            show("\n".join(reports[-1].lines()))
    show(_to_json(study.spec.name, reports) if as_json else summary(study.spec.name, reports))
    return all(report.is_verified for report in reports)


@store_errors()
def _read(
    spec: StudySpec, root: Path, n_trials: int, number: int | None
) -> tuple[SweepStudy, list[RecordedTrial]]:
    """The study, and what is recorded of the trials that are verified."""
    study = find_study(spec, root).open_begun()
    refuse_changes(study)
    if number is not None:
        require_comparable(study, number)
    numbers = choose_complete(study, n_trials) if number is None else [number]
    return study, [read_recorded_trial(study, chosen) for chosen in numbers]


def _to_json(study: str, reports: Sequence[TrialReport]) -> str:
    answer = {
        "study": study,
        "verified": all(report.is_verified for report in reports),
        "meaning": summary(study, reports),
        "trials": [report.to_json() for report in reports],
    }
    return json.dumps(answer)


def _announce(trials: Sequence[RecordedTrial], n_wanted: int) -> str:
    """What comes, and how long it took when it was recorded."""
    numbers = ", ".join(str(trial.number) for trial in trials)
    fewer = "; no more are complete" if len(trials) < n_wanted else ""
    seconds = sum(
        epoch.values.get("epoch_seconds", 0.0) for trial in trials for epoch in trial.history
    )
    took = f"; in the study they took {format_seconds(seconds)}" if seconds else ""
    return (
        f"training {format_count(len(trials), 'trial')} ({numbers}) again, alone, twice each"
        f"{fewer}{took}; nothing of it is kept"
    )


@dataclass(frozen=True)
class _Verifier:
    study: SweepStudy
    code: str
    note: Callable[[str], None]

    def verify(self, trial: RecordedTrial) -> TrialReport:
        """What comes of one trial, whatever that is."""
        spec, paths = self.study.spec, self.study.paths
        try:
            conditions = find_conditions(spec, paths, trial, self.code)
            require_data(spec, trial, conditions, paths.cache_dir)
            runs = [self._train(trial, conditions, is_second=each) for each in (False, True)]
        except CannotVerifyError as exc:
            return _unverified(trial, str(exc))
        except (Exception, SystemExit) as exc:  # of whatever the user's code raises
            cause = redacted(f"{type(exc).__name__}: {exc}").partition("\n")[0]
            return _unverified(
                trial,
                f"training it again failed of {cause}: if that is no fault of this machine, what "
                "it needs has changed since",
            )
        return self._compare(trial, conditions, *runs)

    def _train(self, trial: RecordedTrial, conditions: Conditions, *, is_second: bool) -> Run:
        words = f"trial {trial.number}, {'second' if is_second else 'first'} of 2 runs alone"
        with shown(words, trial.history[-1].epoch, self.note) as follow:
            return train_alone(
                self.study.spec,
                trial,
                conditions,
                cache_dir=self.study.paths.cache_dir,
                follow=follow,
                is_rounded_otherwise=is_second and conditions.second_is_rounded_otherwise,
            )

    def _compare(
        self, trial: RecordedTrial, conditions: Conditions, alone: Run, again: Run
    ) -> TrialReport:
        is_exact = not conditions.loose
        differences = compare_curves(
            trial.history,
            alone.history,
            again.history,
            # Of others nobody knows what they measure: times, memory.
            only=self.study.spec.objective.metrics if conditions.is_own else (),
            is_exact=is_exact,
        )
        weights, remarks = self._compare_weights(trial, alone, again, is_exact=is_exact)
        differences += weights
        if conditions.second_is_rounded_otherwise:
            remarks.append(
                "the second run alone began with weights whose last bit differs, so what the two "
                "differ by is what rounding makes of this trial"
            )
        verdict, meaning = explain(differences, is_exact=is_exact)
        if trial.faults:
            verdict = Verdict.DIFFERS
            meaning = f"its record contradicts itself: {'; '.join(trial.faults)}. {meaning}"
        return TrialReport(
            trial.number,
            _describe(trial),
            verdict,
            meaning,
            differences,
            conditions.loose,
            remarks,
        )

    def _compare_weights(
        self, trial: RecordedTrial, alone: Run, again: Run, *, is_exact: bool
    ) -> tuple[list[Difference], list[str]]:
        """Of a trial with a model file, and why they are not compared."""
        if trial.state != TrialState.COMPLETE or alone.weights is None or again.weights is None:
            return [], []
        from sweeper.training.checkpoint import load_whole
        from sweeper.training.difference import weights_difference  # torch

        path = self.study.paths.model(trial.number)
        try:
            recorded = load_whole(path)
        except OSError as exc:
            return [], [f"its weights are not compared: {path}: {exc.strerror}"]
        if recorded is None:
            return [], [f"its weights are not compared: the checksum of {path} is wrong"]
        compared = compare_weights(
            weights_difference(recorded, alone.weights),
            weights_difference(recorded, again.weights),
            weights_difference(alone.weights, again.weights),
            is_exact=is_exact,
        )
        return [compared], []


def _unverified(trial: RecordedTrial, why: str) -> TrialReport:
    return TrialReport(trial.number, _describe(trial), Verdict.UNVERIFIED, why)


def _describe(trial: RecordedTrial) -> str:
    model = trial.config.model
    parts = [
        *([model.architecture] if model else []),
        trial.state.value,
        format_count(len(trial.history), "epoch"),
    ]
    return ", ".join(parts)
