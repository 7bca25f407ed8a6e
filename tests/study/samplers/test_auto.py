from pathlib import Path
from typing import Any

import pytest

from sweeper.study.samplers.auto import choose_sampler
from tests.support.sweep_studies import (
    CONDITIONAL,
    spec_of,
)


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        (
            {"budget": {"trials": 200}},
            ("gp", "a flat space and at most 200 trials"),
        ),
        (
            {"budget": {"trials": 201}},
            ("tpe", "more than 200 trials, where gp's asking gets slow"),
        ),
        (
            {"model": CONDITIONAL},
            ("tpe", "the space is conditional; gp would see only what all branches share"),
        ),
        ({"train": {"epochs": 1}}, ("random", "nothing is searched")),
        ({"sampler": {"name": "qmc"}}, ("qmc", "named in the study file")),
    ],
)
def test_auto_takes_the_sampler_that_fits(
    tmp_path: Path, changes: dict[str, Any], choice: tuple[str, str]
) -> None:
    assert choose_sampler(spec_of(tmp_path, **{"sampler": {"name": "auto"}, **changes})) == choice
