from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sweeper.config.grid import grid_points
from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar
from sweeper.study.samplers.latent import LatentSpace

CONDITIONAL: dict[str, Any] = {
    "width": {"choices": [16, 32, 64]},
    "kind": {
        "choices": {
            "mlp": {"depth": {"low": 1, "high": 4}},
            "cnn": {"width": 8, "channels": {"choices": {"few": {}, "many": {"groups": 2}}}},
            "bag": {},
        }
    },
    "groups": {"choices": [1, 2]},
}


def space_of(train: dict[str, Any], **more: Any) -> LatentSpace:
    study = {"name": "x", "objective": {"metric": "loss", "direction": "minimize"}}
    train = {"function": "package.module:run", **train}
    return LatentSpace(
        parse_study(yaml.safe_dump({**study, **more, "train": train}), Path("x.yaml"))
    )


def drawn(space: LatentSpace, n: int = 300) -> np.ndarray:
    return space.spread(np.random.default_rng(0).random((n, len(space.names))))


def test_what_counts_in_a_row_is_what_the_study_file_says() -> None:
    space = space_of(CONDITIONAL)
    found = {tuple(sorted(space.params(row).items())) for row in drawn(space, 2000)}
    spec = space._spec
    assert found == {tuple(sorted(point.items())) for point in grid_points(spec)}


def test_a_setting_leads_back_to_itself() -> None:
    space = space_of(CONDITIONAL)
    for row in drawn(space, 50):
        params = space.params(row)
        again = space.row(params, np.full(len(space.names), 0.99))
        assert space.params(again) == params
        assert space.keys(row[None]) == space.keys(again[None])


def test_branches_are_the_combinations_of_choices_that_have_some() -> None:
    space = space_of(CONDITIONAL)
    assert [space.names[at].removeprefix("train.") for at in space.forks] == [
        "kind", "kind.cnn.channels",
    ]  # fmt: skip
    rows = drawn(space)
    labels = [(p["train.kind"], p.get("train.kind.cnn.channels")) for p in map(space.params, rows)]
    assert len(space.branches) == len(set(labels)) == 4
    of_branch: dict[int, set[Any]] = {}
    for branch, label in zip(space.branch(rows), labels, strict=True):
        of_branch.setdefault(int(branch), set()).add(label)
    assert all(len(found) == 1 for found in of_branch.values())
    assert space.branch(space.branches).tolist() == [0, 1, 2, 3]


def test_of_many_branches_the_first_choices_tell_them_apart() -> None:
    fork = {"choices": {name: {f"{name}{at}": 1 for at in range(2)} for name in "abcd"}}
    space = space_of({f"fork{n}": fork for n in range(5)})
    assert len(space.forks) == 2
    assert len(space.branches) == 16
    assert set(space.branch(drawn(space, 500))) == set(range(16))


def test_distances_of_points() -> None:
    space = space_of({"kind": {"choices": ["a", "b", "c"]}, "x": {"low": 0.0, "high": 2.0}})
    a, b, c = space.embed(np.array([[0, 0.25], [1, 0.25], [2, 0.25]]))
    for one, other in ((a, b), (b, c), (a, c)):
        assert np.linalg.norm(one - other) == pytest.approx(1)
    near, far = space.embed(np.array([[0, 0.0], [0, 1.0]]))
    assert np.linalg.norm(near - far) == pytest.approx(1)


def test_what_does_not_count_makes_no_distance() -> None:
    space = space_of(CONDITIONAL)
    row = space.row({"train.kind": "bag"}, np.zeros(len(space.names)))
    other = row.copy()
    other[space.names.index("train.kind.mlp.depth")] = 1.0
    assert np.array_equal(space.embed(row[None]), space.embed(other[None]))


def test_what_is_forbidden_need_not_be_the_step_to_the_last_digit() -> None:
    third = {"low": 0.0, "high": 1.0, "step": 0.3333333}  # its last step is 0.9999999
    space = space_of({"a": third}, forbid=[{"train.a": 1.0}])
    rows = space.axes[0].levels(np.random.default_rng(0), 9)[:, None]
    assert space.is_allowed(rows).tolist() == [True, True, True, False]
    assert space.is_allowed(space.row({"train.a": 1.0}, np.zeros(1))[None]).tolist() == [False]


def test_forbidden_rows() -> None:
    space = space_of(
        {"a": {"choices": [1, 2, 3]}, "b": {"low": 0.0, "high": 1.0, "step": 0.1}},
        forbid=[{"train.a": 2, "train.b": 0.3}, {"train.a": 3}],
    )
    settings: list[dict[str, Scalar]] = [
        {"train.a": 2, "train.b": 0.3},
        {"train.a": 2, "train.b": 0.4},
        {"train.a": 3},
    ]
    rows = np.array([space.row(setting, np.zeros(2)) for setting in settings])
    assert space.is_allowed(rows).tolist() == [False, True, False]


def test_only_a_small_space_is_listed() -> None:
    space = space_of({"a": {"choices": [1, 2, 3]}, "b": {"low": 1, "high": 4}})
    listed = space.listed(12)
    assert listed is not None
    assert len(set(space.keys(listed))) == 12
    assert space.listed(11) is None
    assert space_of({"a": {"low": 0.0, "high": 1.0}}).listed(10**6) is None
