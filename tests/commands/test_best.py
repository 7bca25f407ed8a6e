"""What is said of a pruned trial that was better than the best, and that it can be followed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.commands.best import format_best_pruned
from sweeper.config.reader import parse_study
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.result import Result
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import CONDITIONAL, begin, plain_study, reports, run_all

ENQUEUED = {"train.learning_rate": 0.0123456789012345}
#: Studies of three trials.
SPACES: dict[str, dict[str, Any]] = {
    "flat": {},
    "conditional": {
        "model": CONDITIONAL,
        "train": {
            "epochs": 3,
            "nesterov": {"choices": [True, False]},
            "patience": {"choices": [None, 2]},
            "l1": {"low": 1e-9, "high": 1e-6, "log": True},
        },
    },
    "enqueued": {"enqueue": [{"train.learning_rate": 0.05}, ENQUEUED]},
    "tiny": {"train": {"epochs": 3, "learning_rate": {"choices": [0.1, 0.2, 0.3]}}},
    "grid": {
        "sampler": {"name": "grid"},
        "train": {"epochs": 3, "learning_rate": {"low": 0.1, "high": 0.3, "step": 0.1}},
    },
}


def second_is_pruned(claim: RunningTrial) -> None:
    """By asha, after epoch 2; the others go on, as they are no worse than the first there."""
    reports(*((0.8, 0.1) if claim.number == 1 else (0.5, 0.6, 0.4)))(claim)


def followed(study: SweepStudy, changes: dict[str, Any]) -> SweepStudy:
    """The study begun again by a file that was changed as the lines say."""
    lines = format_best_pruned(Result(study))
    at = next(n for n, line in enumerate(lines) if line.startswith("to train it"))
    told, settings = lines[at], "\n".join(line[2:] for line in lines[at + 1 :])
    plain = plain_study(**changes)
    found = re.fullmatch(
        r"to train it to its end: set budget\.trials: (\d+), pruner: ({.*?})(, sampler: ({.*?}))?"
        ", add this to enqueue, and run the study again",
        told,
    )
    assert found
    plain |= {"budget": {"trials": int(found[1])}, "pruner": yaml.safe_load(found[2])}
    if found[4]:
        plain |= {"sampler": yaml.safe_load(found[4])}
    enqueue = yaml.safe_dump({"enqueue": plain.pop("enqueue", [])}, default_flow_style=False)
    text = (
        yaml.safe_dump(plain, sort_keys=False)
        + enqueue.replace("[]", "").rstrip()
        + f"\n{settings}\n"
    )
    spec = parse_study(text, study.spec.path)
    again = create_study(spec, RunPaths(study.paths.root, spec.name))
    again.queue.top_up()
    return again


@pytest.mark.parametrize("space", SPACES)
def test_a_pruned_trial_that_was_better_is_finished_as_the_lines_say(
    tmp_path: Path, space: str
) -> None:
    changes = {"pruner": {"name": "asha"}, "budget": {"trials": 3}, **SPACES[space]}
    study = begin(tmp_path, **changes)
    run_all(study, second_is_pruned)
    pruned = study.trials()[1]
    assert format_best_pruned(Result(study))[0] == (
        "trial 1: val_accuracy 0.8, better than any complete one; it was pruned after epoch 2, "
        "so it has no model"
    )

    again = followed(study, changes)
    run_all(again, reports(0.1, 0.2, 0.3))

    finished = again.trials()[3:]
    assert [trial.params for trial in finished] == [pruned.params]
    assert again.counts() == {TrialState.COMPLETE: 3, TrialState.PRUNED: 1}
    assert format_best_pruned(Result(again)) == []


def test_nothing_is_said_where_the_best_trial_is_complete(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert format_best_pruned(Result(study)) == []
    run_all(study, reports(0.5, 0.6, 0.4))
    assert format_best_pruned(Result(study)) == []
