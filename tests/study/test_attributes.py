from pathlib import Path

import pytest

from sweeper.errors import DataError
from sweeper.study.attributes import settle_fingerprint
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import (
    begin_in_memory,
)


def settle(study: SweepStudy, data: str, fingerprint: str) -> None:
    settle_fingerprint(study.storage, study.study_id, data, fingerprint)


def test_the_first_fingerprint_of_the_same_data_counts(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    settle(study, "moons, noise 0.1", "aa")
    settle(study, "moons, noise 0.1", "aa")
    settle(study, "moons, noise 0.3", "bb")
    with pytest.raises(DataError, match=r"have fingerprint cc, but earlier trials .* had aa; "):
        settle(study, "moons, noise 0.1", "cc")
