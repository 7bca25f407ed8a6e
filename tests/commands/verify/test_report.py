"""What differences mean, and how that is said."""

import json
import math
from dataclasses import replace

import pytest

from sweeper.commands.verify.compare import Difference, Parting, Verdict
from sweeper.commands.verify.report import TrialReport, explain, summary

SAME = Difference("val_loss", (0.5, 0.5, 0.5), 0.0, 0.0, 0.0)
APART = Difference("val_loss", (0.5, 0.4, 0.4), 0.2, 0.0, 0.0, Parting(2, 0.5, 0.4))
ALONE = Difference("val_loss", (0.5, 0.5, 0.4), 0.0, 0.2, 0.0, Parting(2, 0.5, 0.4))
NEAR = Difference("val_loss", (0.5, 0.49, 0.49), 0.01, 0.005, 0.02)
FAR = Difference("val_loss", (0.5, 0.2, 0.3), 0.4, 0.1, 0.2, Parting(3, None, 0.3))
WEIGHTS = Difference("weights", (None, None, None), 0.25, 0.0, 0.0)


@pytest.mark.parametrize(
    ("differences", "is_exact", "verdict", "meaning"),
    [
        (
            [SAME],
            True,
            Verdict.SAME,
            "alone it comes to the recorded numbers, bit for bit, both times",
        ),
        (
            [replace(NEAR, recorded=0.0)],
            False,
            Verdict.SAME,
            "alone it comes to the recorded numbers, bit for bit",
        ),
        (
            [NEAR],
            False,
            Verdict.WITHIN,
            "alone it comes as close to the record as is asked: 0.01 at most, and two runs alone "
            "differ by 0.005",
        ),
        (
            [SAME, WEIGHTS, APART],
            True,
            Verdict.DIFFERS,
            "two runs alone agree, and the record is not what they come to, so it was changed, "
            "or something else was at work when it was made: val_loss parts at epoch 2, 0.5 to "
            "0.4; the weights differ",
        ),
        (
            [ALONE],
            True,
            Verdict.DIFFERS,
            "two runs alone differ from each other, so something else than its settings, its seed "
            "and the data decides what it comes to: val_loss parts at epoch 2, 0.5 to 0.4",
        ),
        (
            [FAR],
            False,
            Verdict.DIFFERS,
            "the record is further from two runs alone than chance explains: val_loss parts at "
            "epoch 3, nothing to 0.3",
        ),
    ],
)
def test_what_differences_mean(
    differences: list[Difference], is_exact: bool, verdict: Verdict, meaning: str
) -> None:
    assert explain(differences, is_exact=is_exact) == (verdict, meaning)


def test_a_table_and_what_it_means() -> None:
    report = TrialReport(
        4,
        "cnn, pruned",
        Verdict.DIFFERS,
        "so it is",
        [replace(APART, name="f"), WEIGHTS],
        ["far"],
    )
    assert list(report.lines()) == [
        "trial 4, cnn, pruned",
        "           recorded  alone  again  recorded-alone  alone-again  allowed",
        "  f             0.5    0.4    0.4             0.2            0        0  "
        "parts at epoch 2",
        "  weights                                    0.25            0        0",
        "  allowed is the larger of 0.02 and 3 times what two runs alone differ by, in any "
        "metric, as far",
        "  differs: so it is",
    ]


def test_json_has_no_numbers_that_are_none() -> None:
    odd = Difference("val_loss", (math.nan, 0.5, 0.5), math.inf, 0.0, 0.02, Parting(1, None, 0.5))
    report = TrialReport(4, "mlp", Verdict.DIFFERS, "so it is", [odd])
    text = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(text)["differences"] == [
        {
            "name": "val_loss",
            "recorded": None,
            "alone": 0.5,
            "again": 0.5,
            "recorded_alone": None,
            "alone_again": 0.0,
            "allowed": 0.02,
            "is_within": False,
            "parts_at": 1,
        }
    ]


def report_of(number: int, verdict: Verdict) -> TrialReport:
    return TrialReport(number, "mlp", verdict, "so it is")


def test_all_of_it_in_one_sentence() -> None:
    same, near = report_of(1, Verdict.SAME), report_of(2, Verdict.WITHIN)
    apart, unknown = report_of(3, Verdict.DIFFERS), report_of(4, Verdict.UNVERIFIED)
    assert summary("s", [same, same]) == "s: verified, 2 trials came to the same numbers again"
    assert summary("s", [same, near]) == (
        "s: verified, 2 trials came as close to the record as can be asked"
    )
    assert summary("s", [same, apart, unknown]) == (
        "s: not verified, 1 of 3 trials came to what was recorded again: trial 3 differs, trial 4 "
        "could not be verified"
    )
