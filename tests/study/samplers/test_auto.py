from pathlib import Path
from typing import Any

import pytest

from sweeper.study.samplers.auto import choose_sampler
from tests.support.sweep_studies import (
    CONDITIONAL,
    spec_of,
)

OURS = "conditional_gp", "it learns from every trial, pruned ones too, in all branches at once"
TWO_METRICS = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        ({"budget": {"trials": 200}}, OURS),
        ({"budget": {"trials": 20_000}}, OURS),
        ({"model": CONDITIONAL}, OURS),
        (
            {"objective": TWO_METRICS},
            (
                "conditional_gp",
                "it weighs the metrics anew for each trial, in all branches at once",
            ),
        ),
        ({"train": {"epochs": 1}}, ("random", "nothing is searched")),
        ({"sampler": {"name": "qmc"}}, ("qmc", "named in the study file")),
        (
            {"sampler": {"name": "gp"}},
            ("gp", "named in the study file; tpe draws until 10 trials are complete"),
        ),
    ],
)
def test_auto_takes_the_sampler_that_fits(
    tmp_path: Path, changes: dict[str, Any], choice: tuple[str, str]
) -> None:
    assert choose_sampler(spec_of(tmp_path, **{"sampler": {"name": "auto"}, **changes})) == choice
