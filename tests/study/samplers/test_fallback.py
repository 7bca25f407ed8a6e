from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.config.settings import Scalar
from sweeper.study.samplers.choice import Choice
from sweeper.study.samplers.fallback import Fallback
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.proposal import IsTried, Request
from tests.support.sweep_studies import spec_of

MANY = list(range(200))


class Search:
    """A space, and what is given to a trial for which a sampler wants a setting of it."""

    def __init__(self, folder: Path, **train: Any) -> None:
        forbid = train.pop("forbid", [])
        self.spec = spec_of(folder, train={"epochs": 1, **train}, forbid=forbid)
        self.space = LatentSpace(self.spec)

    def find(
        self,
        wanted: Mapping[str, Scalar] | None,
        is_tried: IsTried,
        *,
        given: Mapping[str, Scalar] | None = None,
        failed: Mapping[str, Scalar] | None = None,
    ) -> Mapping[str, Scalar]:
        blank = np.zeros(len(self.space.names))
        rows = [self.space.row(setting, blank) for setting in (failed,) if setting]
        tried = np.array(rows).reshape(-1, len(blank))
        request = Request(0, given or {})
        held = self.space.held(request.given)
        choice = Choice(self.space, held, tried, np.random.default_rng(0), is_tried)
        row = None if wanted is None else self.space.row(wanted, blank)
        found = Fallback(self.spec, self.space).find(request, choice, is_tried, row)
        return self.space.params(found)


def settings_of_l1_and_l2(folder: Path) -> Search:
    return Search(
        folder,
        l1={"choices": [0.0, 0.1, 0.2, 0.3]},
        l2={"low": 0.0, "high": 1.0},
    )


def test_the_nearest_neighbour_changes_one_range_a_little(tmp_path: Path) -> None:
    search = settings_of_l1_and_l2(tmp_path)
    wanted = {"train.l1": 0.1, "train.l2": 0.5}
    assert search.find(wanted, lambda _: False) == wanted
    found = search.find(wanted, lambda setting: setting == wanted)
    assert found["train.l1"] == 0.1
    assert 0 < abs(float(str(found["train.l2"])) - 0.5) < 0.02


def test_what_the_trial_has_already_stays(tmp_path: Path) -> None:
    search = settings_of_l1_and_l2(tmp_path)
    wanted = {"train.l1": 0.1, "train.l2": 0.5}
    found = search.find(wanted, lambda setting: setting == wanted, given={"train.l2": 0.5})
    assert found["train.l2"] == 0.5
    assert found["train.l1"] in (0.0, 0.2)


def test_the_last_setting_of_eight_million_is_found(tmp_path: Path) -> None:
    """All but two are forbidden, and one of these was tried."""
    search = Search(
        tmp_path,
        l1={"choices": [n / 1000 for n in MANY]},
        l2={"choices": [n / 1000 for n in MANY]},
        clip_grad_norm={"choices": [n + 1 for n in MANY]},
        forbid=[
            *({"train.l1": n / 1000} for n in MANY[1:]),
            *({"train.l2": n / 1000} for n in MANY[1:]),
            *({"train.clip_grad_norm": n + 1} for n in MANY[2:]),
        ],
    )
    left = [{"train.l1": 0.0, "train.l2": 0.0, "train.clip_grad_norm": norm} for norm in (1, 2)]
    assert search.find(None, lambda setting: setting == left[0]) == left[1]
    assert search.find(None, lambda setting: setting == left[1]) == left[0]
    assert search.find(None, lambda _: True) in left


def test_what_failed_comes_last_but_before_a_repeat(tmp_path: Path) -> None:
    search = Search(tmp_path, optimizer={"choices": ["sgd", "adamw", "adam"]})
    failed = {"train.optimizer": "sgd"}
    assert search.find(failed, lambda _: False, failed=failed) != failed
    for wanted in (None, failed, {"train.optimizer": "adam"}):
        assert search.find(wanted, lambda setting: setting != failed, failed=failed) == failed


def test_when_all_was_tried_what_was_wanted_is_repeated(tmp_path: Path) -> None:
    search = Search(tmp_path, optimizer={"choices": ["sgd", "adamw", "adam"]})
    wanted = {"train.optimizer": "adam"}
    assert search.find(wanted, lambda _: True) == wanted
