import pytest

from tests.support.spec_files import BASE, assert_refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: {function: 'a:b', a: {lr*: 1}, b/: 1, c: {choices: {'x?': {d: 1}}}}",
         """3: train.a.lr*: MLflow takes letters, digits, spaces and _ - . : / in a name alone
         3: train.b/: MLflow reads a name as a path, which may not be absolute and holds no . .. \
or //
         3: train.c.x?.d: MLflow takes letters, digits, spaces and _ - . : / in a name alone"""),
        (f"train: {{function: 'a:b', {'k' * 300}: 1}}",
         f"3: train.{'k' * 300}: MLflow takes names of up to 245 signs, this one has 306"),
    ],
)  # fmt: skip
def test_a_name_that_mlflow_does_not_take(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)
