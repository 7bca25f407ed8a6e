from decimal import Decimal

import pytest

from sweeper.launchers.kubernetes.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", "4"), ("0.5", "0.5"), (".5", "0.5"), ("5.", "5"), ("500m", "0.5"), ("-1", "-1"),
        ("16G", "16000000000"), ("16Gi", "17179869184"), ("1k", "1000"), ("1Ki", "1024"),
        ("1E", "1000000000000000000"), ("1e3", "1000"), ("1.5E2", "150"), ("1u", "0.000001"),
        ("1n", "0.000000001"), ("2Ei", "2305843009213693952"),
    ],
)  # fmt: skip
def test_quantities(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "G", "16GB", "16g", "16gi", "16K", "16 Gi", "1e3k", "1.2.3", ".", "0x10", "1_0"]
)
def test_no_quantities(text: str) -> None:
    assert parse_quantity(text) is None
