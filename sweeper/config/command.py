"""``train.command``: the words of a user's own program, and the values that stand in them."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeper.config.ranges import Section, walk_values
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec

#: What a trial has beside the values of the study file.
TRIAL_NAMES = ("trial.checkpoint", "trial.device", "trial.number", "trial.seed")
#: Name in ``train.report`` of what is no metric.
EPOCH = "epoch"

PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


def split_command(command: str | Sequence[str]) -> list[str]:
    """Its words, in which the placeholders still stand.

    Raises:
        ValueError: If there are none, or a quote has no end.
    """
    if not isinstance(command, str):
        words = list(command)
    else:
        words = shlex.split(command.replace("\\\n", " "))  # shlex would keep the line's end
    if not words or not words[0]:
        raise ValueError("there is none in it")
    return words


def used_names(texts: Collection[str]) -> set[str]:
    """The dotted names that stand in ``${}``."""
    return {name for text in texts for name in PLACEHOLDER.findall(text)}


def value_names(sections: Mapping[str, Section]) -> dict[str, str]:
    """Dotted name of each value -> the name that it has once its branch is drawn."""
    return {name: drawn for name, drawn, _ in walk_values(sections)}


def named_values(
    sections: Mapping[str, Section], params: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """What ``${name}`` stands for in one trial, by either name of each value.

    Args:
        sections: Of the study file.
        params: Of the trial, by dotted name; values of branches that were not drawn are absent.
    """
    present = [item for item in value_names(sections).items() if item[0] in params]
    by_branch = {drawn: params[name] for name, drawn in present}
    return by_branch | {name: params[name] for name, _ in present}


def fill(text: str, values: Mapping[str, Any]) -> str | None:
    """A text with its values; None if one of them is of a branch that was not drawn."""
    if used_names([text]) <= values.keys():
        return PLACEHOLDER.sub(lambda found: str(values[found[1]]), text)
    return None


def fill_command(words: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The words with their values.

    A word with a value that was not drawn is left out, with the option right before it, as in
    ``--momentum ${train.momentum}``.
    """
    filled: list[str] = []
    for i, word in enumerate(words):
        text = fill(word, values)
        if text is not None:
            filled.append(text)
        elif i and words[i - 1].startswith("-") and not used_names([words[i - 1]]):
            filled.pop()
    return filled


def further_arguments(
    spec: StudySpec, words: Sequence[str], params: Mapping[str, Scalar]
) -> list[str]:
    """What ``args: auto`` appends: ``--name value`` for each searched value that no word uses.

    As argparse's ``store_true`` has it, true is ``--name`` and false nothing; nor is null.
    """
    appended: list[str] = []
    for name in unused_names(spec, words):
        value, option = params.get(name), f"--{last_part(name)}"
        if value is True:
            appended.append(option)
        elif value is not None and value is not False:
            appended += [option, str(value)]
    return appended


def last_part(name: str) -> str:
    """Of a dotted name."""
    return name.rpartition(".")[2]


def unused_names(spec: StudySpec, words: Sequence[str]) -> list[str]:
    """Searched names that no word of the command uses."""
    used, drawn = used_names(words), value_names(spec.sections)
    return [name for name in spec.ranges() if not used & {name, drawn[name]}]
