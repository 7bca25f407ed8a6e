"""The words of ``train.command``, and what stands in them."""

from collections.abc import Mapping
from typing import Any

import pytest

from sweeper.config.command import (
    fill_command,
    further_arguments,
    named_values,
    split_command,
    unused_names,
)
from sweeper.config.settings import Scalar
from sweeper.config.space import suggest_config
from sweeper.config.study import StudySpec
from tests.support.spec_files import drawing, study

BRANCHES = """
objective: {metric: loss, direction: minimize}
model:
  architecture: {choices: {mlp: {depth: {low: 2, high: 4}}, cnn: {channels: {low: 8, high: 9}}}}
train:
  command: "python t.py --depth ${model.depth} --channels=${model.architecture.cnn.channels}"
  lr: {low: 0.1, high: 0.5}
  amp: {choices: [true, false]}
  clip: {choices: [null, 1.0]}
  args: auto
"""


def spec_and_params(**drawn: Scalar) -> tuple[StudySpec, Mapping[str, Scalar]]:
    """Of ``BRANCHES``; values are drawn by the name with ``__`` for a dot, else the first."""
    spec = study(BRANCHES)
    values = {name.replace("__", "."): value for name, value in drawn.items()}
    return spec, suggest_config(spec, drawing(values), seed=0).params


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python train.py --lr ${train.lr}", ["python", "train.py", "--lr", "${train.lr}"]),
        ("run 'a b' c\\ d", ["run", "a b", "c d"]),
        ("python t.py \\\n  --lr 1\n", ["python", "t.py", "--lr", "1"]),
        (["a b", "$HOME"], ["a b", "$HOME"]),
    ],
)
def test_a_line_is_split_as_a_shell_does(command: Any, words: list[str]) -> None:
    assert split_command(command) == words


@pytest.mark.parametrize("command", ["", "  ", "''", [], [""], "echo 'a"])
def test_what_holds_no_words_is_refused(command: Any) -> None:
    with pytest.raises(ValueError, match="none in it|No closing quotation"):
        split_command(command)


def test_a_value_has_its_dotted_name_and_that_of_its_drawn_branch() -> None:
    spec, params = spec_and_params(model__architecture__mlp__depth=3)
    values = named_values(spec.sections, params)
    assert values["model.architecture.mlp.depth"] == values["model.depth"] == 3
    assert values["train.lr"] == 0.1
    assert "model.architecture.cnn.channels" not in values


def test_a_word_without_its_value_is_left_out_with_its_option() -> None:
    spec, params = spec_and_params(model__architecture="cnn")
    words = split_command(spec.sections["train"]["command"])
    values = named_values(spec.sections, params)
    assert fill_command(words, values) == ["python", "t.py", "--channels=8"]
    spec, params = spec_and_params()
    assert fill_command(words, named_values(spec.sections, params)) == [
        "python", "t.py", "--depth", "2",
    ]  # fmt: skip


def test_a_value_stays_one_word_whatever_is_in_it() -> None:
    assert fill_command(["echo", "x=${a}${b}"], {"a": "1; rm *", "b": "${a}"}) == [
        "echo",
        "x=1; rm *${a}",
    ]


def test_further_arguments_are_what_no_word_uses() -> None:
    spec, params = spec_and_params(train__amp=True, train__clip=1.0)
    words = split_command(spec.sections["train"]["command"])
    assert unused_names(spec, words) == [
        "model.architecture", "train.lr", "train.amp", "train.clip",
    ]  # fmt: skip
    assert further_arguments(spec, words, params) == [
        "--architecture", "mlp", "--lr", "0.1", "--amp", "--clip", "1.0",
    ]  # fmt: skip


def test_false_and_null_are_no_arguments() -> None:
    spec, params = spec_and_params(train__amp=False)
    assert further_arguments(spec, ["t"], params) == [
        "--architecture", "mlp", "--depth", "2", "--lr", "0.1",
    ]  # fmt: skip
