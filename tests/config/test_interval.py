"""Every message about a range of numbers."""

import pytest

from tests.support.spec_files import BASE, assert_refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l1: {low: 1}", "3: train.l1: a range needs `high` too"),
        ("l1: {high: 1}", "3: train.l1: a range needs `low` too"),
        ("l1: {low: 2, high: 2}", "3: train.l1: low must be < high, got low=2.0 high=2.0"),
        ("l1: {low: -1, high: 2}", "3: train.l1: must be greater than or equal to 0, got -1"),
        ("l1: {low: true, high: a}",
         "3: train.l1: must be a number, got true\n3: train.l1: must be a number, got 'a'"),
        ("clip_grad_norm: {low: null, high: 2}",
         "3: train.clip_grad_norm: the ends must be numbers, got low=nothing high=2.0"),
        ("l1: {low: 0, high: 1, log: true}",
         "3: train.l1: a log range needs low > 0, got low=0.0"),
        ("l1: {low: 1, high: 2, log: [1]}", "3: train.l1.log: must be one value, got a list"),
        ("l1: {low: 1, high: 2, log: on}", "3: train.l1.log: must be true or false, got 'on'"),
        ("l1: {low: 1, high: 3, log: true, step: 1}",
         "3: train.l1: log and step exclude each other; drop one"),
        ("l1: {low: 0, high: 1, step: 0.3}",
         "3: train.l1: step 0.3 does not lead from low=0.0 to high=1.0"),
        ("l1: {low: 0, high: 1e308, step: 1e-308}",
         "3: train.l1: step 1e-308 does not lead from low=0.0 to high=1e+308"),
        ("l1: {low: 0, high: 1, step: 0}",
         "3: train.l1: step must lie in (0, high - low], got 0.0"),
        ("l1: {low: 0, high: 1, step: 2}",
         "3: train.l1: step must lie in (0, high - low], got 2.0"),
        ("l1: {low: 0, high: 1, step: {a: 1}}",
         "3: train.l1.step: must be one value, got a mapping"),
        ("epochs: {low: 1, high: 10, step: 2}",
         "3: train.epochs: step 2 does not lead from low=1 to high=10"),
        ("epochs: {low: 1, high: 3, step: 0.5}",
         "3: train.epochs.step: must be a whole number, got 0.5"),
        ("epochs: {low: 1, high: 2.5}", "3: train.epochs: must be a whole number, got 2.5"),
        ("l1: {low: 0, high: 1, hihg: 2}",
         "3: train.l1.hihg: unknown key; did you mean 'high'?"),
    ],
)  # fmt: skip
def test_a_range_that_is_wrong(text: str, expected: str) -> None:
    assert_refused(BASE + f"train: {{{text}}}", expected)
