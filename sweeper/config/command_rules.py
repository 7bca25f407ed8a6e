"""What must hold of ``train.command`` and of the keys beside it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from sweeper.config.command import (
    EPOCH,
    PLACEHOLDER,
    TRIAL_NAMES,
    last_part,
    split_command,
    unused_names,
    used_names,
    value_names,
)
from sweeper.config.names import metric_name_fault
from sweeper.config.problems import Fault, Problems, did_you_mean, shown
from sweeper.config.study import StudySpec, fixed_keys

#: Words that mean something to a shell alone.
_OF_A_SHELL = ("|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1")
#: Files that can be followed, by the end of their names.
FILE_ENDS = (".jsonl", ".csv")


def check_command(spec: StudySpec, problems: Problems) -> None:
    """Note what a program could not be started with, or what would make its reports unread."""
    problems.add_all(_faults(spec, problems), spec.origin)


def _faults(spec: StudySpec, problems: Problems) -> Iterator[Fault]:
    """What breaks a rule; a value that has a problem already is left alone."""
    train, words = spec.sections["train"], dict[str, list[str]]()
    for key in ("command", "resume"):
        given = None if problems.concern(f"train.{key}") else train.get(key)
        try:
            words[key] = [] if given is None else split_command(given)
        except ValueError as exc:
            words[key] = []
            yield f"train.{key}", f"cannot be split into words: {exc}, got {shown(given)}"
        yield from _word_faults(spec, key, words[key])
    if isinstance(file := train.get("metrics"), str):
        yield from _name_faults(spec, "train.metrics", file)
    if words["command"] and not problems.concern("train.args"):
        yield from _use_faults(spec, words["command"])
    if train.get("report") is not None and not problems.concern("train.report"):
        yield from _report_faults(spec, problems, train["report"])
    if isinstance(file, str) and not problems.concern("train.metrics"):
        yield from _file_faults(spec, file)


def _word_faults(spec: StudySpec, key: str, words: Sequence[str]) -> Iterator[Fault]:
    is_line = isinstance(spec.sections["train"].get(key), str)
    for i, word in enumerate(words):
        path = f"train.{key}" if is_line else f"train.{key}[{i}]"
        yield from _name_faults(spec, path, word)
        if is_line and word in _OF_A_SHELL:
            yield (
                path,
                f"{word!r} is for a shell, and none reads it; put what needs one into a "
                "script, or write `sh -c '...'`",
            )


def _name_faults(spec: StudySpec, path: str, text: str) -> Iterator[Fault]:
    names = value_names(spec.sections)
    fixed = tuple(f"train.{key}." for key in fixed_keys("train", spec.sections["train"]))
    own = {name for name in (*names, *names.values()) if not f"{name}.".startswith(fixed)}
    known = {*own, *TRIAL_NAMES}
    for name in sorted(used_names([text]) - known):
        yield path, f"${{{name}}} stands for nothing{did_you_mean(name, known)}"
    if text.count("${") > len(PLACEHOLDER.findall(text)):
        yield path, f"a `${{` has no `}}` in the same word, {shown(text)}; close it"


def _use_faults(spec: StudySpec, words: Sequence[str]) -> Iterator[Fault]:
    unused = unused_names(spec, words)
    if spec.sections["train"].get("args") != "auto":
        for name in unused:
            yield (
                name,
                f"is searched, but the command does not use it; write ${{{name}}} where it "
                "belongs, or set train.args: auto",
            )
        return
    drawn, taken = value_names(spec.sections), dict[str, str]()
    for name in unused:
        other = taken.setdefault(last_part(name), name)
        if drawn[other] != drawn[name]:  # branches of one choice set the same value
            yield (
                name,
                f"args: auto makes it --{last_part(name)}, as it does {other}; write one of "
                f"them into the command, as ${{{name}}}",
            )


def _report_faults(
    spec: StudySpec, problems: Problems, report: Mapping[str, str]
) -> Iterator[Fault]:
    for name, pattern in report.items():
        path = f"train.report.{name}"
        if fault := _pattern_fault(pattern):
            yield path, f"{fault}, got {shown(pattern)}"
        if fault := metric_name_fault(name, spec.objective.metrics):
            yield path, fault
    metrics = [name for name in report if name != EPOCH]
    for metric in spec.objective.metrics:
        if metric not in metrics and not problems.concern("objective"):
            message = f"train.report does not read {metric}{did_you_mean(metric, metrics)}"
            yield "objective.metric", message


def _file_faults(spec: StudySpec, path: str) -> Iterator[Fault]:
    if spec.sections["train"].get("report") is not None:
        yield "train.report", "train.metrics names a file that is read; drop one"
    if not path.endswith(FILE_ENDS):
        yield "train.metrics", f"must end in {' or '.join(FILE_ENDS)}, got {shown(path)}"
    if "trial.checkpoint" not in used_names([path]):
        message = (
            "each trial needs a file of its own, which survives a restart; let the program "
            "write it below ${trial.checkpoint}"
        )
        yield "train.metrics", f"{message}, got {shown(path)}"


def _pattern_fault(pattern: str) -> str:
    """Why no number can be read by a regular expression, or nothing."""
    try:
        n_groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as exc:
        return f"is no regular expression: {exc}"
    if n_groups != 1:
        return f"must have one group ( ) around the number, and has {n_groups}; (?: ) is none"
    return ""
