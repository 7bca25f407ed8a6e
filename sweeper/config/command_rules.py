"""What must hold of ``train.command`` and of the keys beside it."""

import re
from collections.abc import Iterator, Sequence

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
from sweeper.config.problems import Problems, did_you_mean, shown
from sweeper.config.study import StudySpec, fixed_keys

#: Words that mean something to a shell alone.
_OF_A_SHELL = ("|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1")
#: Files that can be followed, by the end of their names.
FILE_ENDS = (".jsonl", ".csv")


def check_command(spec: StudySpec, problems: Problems) -> None:
    """Note what a program could not be started with, or what would make its reports unread."""
    _CommandRules(spec, problems).check()


class _CommandRules:
    def __init__(self, spec: StudySpec, problems: Problems) -> None:
        self._spec = spec
        self._train = spec.sections["train"]
        self._problems = problems

    def check(self) -> None:
        words = self._words("command")
        for key in ("command", "resume"):
            for path, word in self._placed_words(key):
                self._check_names(path, word)
        if isinstance(file := self._train.get("metrics"), str):
            self._check_names("train.metrics", file)
        if words and not self._has_problem("args"):
            self._check_use(words)
        self._check_report()
        self._check_file()

    def _has_problem(self, key: str) -> bool:
        return self._problems.concern(f"train.{key}")

    def _add(self, path: str, message: str) -> None:
        self._problems.add(self._spec.origin(path), path, message)

    def _words(self, key: str) -> list[str]:
        """Of a key; none after a problem, or if the file does not have it."""
        given = self._train.get(key)
        if given is None or self._has_problem(key):
            return []
        try:
            return split_command(given)
        except ValueError as exc:
            self._add(f"train.{key}", f"cannot be split into words: {exc}, got {shown(given)}")
            return []

    def _placed_words(self, key: str) -> Iterator[tuple[str, str]]:
        is_line = isinstance(self._train.get(key), str)
        for i, word in enumerate(self._words(key)):
            path = f"train.{key}" if is_line else f"train.{key}[{i}]"
            yield path, word
            if is_line and word in _OF_A_SHELL:
                message = (
                    f"{word!r} is for a shell, and none reads it; put what needs one into a "
                    "script, or write `sh -c '...'`"
                )
                self._add(path, message)

    def _check_names(self, path: str, text: str) -> None:
        names = value_names(self._spec.sections)
        fixed = tuple(f"train.{key}." for key in fixed_keys("train", self._train))
        own = {name for name in (*names, *names.values()) if not f"{name}.".startswith(fixed)}
        known = {*own, *TRIAL_NAMES}
        for name in sorted(used_names([text]) - known):
            self._add(path, f"${{{name}}} stands for nothing{did_you_mean(name, known)}")
        if text.count("${") > len(PLACEHOLDER.findall(text)):
            self._add(path, f"a `${{` has no `}}` in the same word, {shown(text)}; close it")

    def _check_use(self, words: Sequence[str]) -> None:
        unused = unused_names(self._spec, words)
        if self._train.get("args") != "auto":
            for name in unused:
                message = (
                    f"is searched, but the command does not use it; write ${{{name}}} where it "
                    "belongs, or set train.args: auto"
                )
                self._add(name, message)
            return
        drawn, taken = value_names(self._spec.sections), dict[str, str]()
        for name in unused:
            other = taken.setdefault(last_part(name), name)
            if drawn[other] != drawn[name]:  # branches of one choice set the same value
                message = (
                    f"args: auto makes it --{last_part(name)}, as it does {other}; write one of "
                    f"them into the command, as ${{{name}}}"
                )
                self._add(name, message)

    def _check_report(self) -> None:
        report = self._train.get("report")
        if report is None or self._has_problem("report"):
            return
        for name, pattern in report.items():
            path = f"train.report.{name}"
            if fault := _pattern_fault(pattern):
                self._add(path, f"{fault}, got {shown(pattern)}")
            if fault := metric_name_fault(name, self._spec.objective.metrics):
                self._add(path, fault)
        metrics = [name for name in report if name != EPOCH]
        for metric in self._spec.objective.metrics:
            if metric not in metrics and not self._problems.concern("objective"):
                message = f"train.report does not read {metric}{did_you_mean(metric, metrics)}"
                self._add("objective.metric", message)

    def _check_file(self) -> None:
        path = self._train.get("metrics")
        if not isinstance(path, str) or self._has_problem("metrics"):
            return
        if self._train.get("report") is not None:
            self._add("train.report", "train.metrics names a file that is read; drop one")
        if not path.endswith(FILE_ENDS):
            self._add("train.metrics", f"must end in {' or '.join(FILE_ENDS)}, got {shown(path)}")
        if "trial.checkpoint" not in used_names([path]):
            message = (
                "each trial needs a file of its own, which survives a restart; let the program "
                "write it below ${trial.checkpoint}"
            )
            self._add("train.metrics", f"{message}, got {shown(path)}")


def _pattern_fault(pattern: str) -> str:
    """Why no number can be read by a regular expression, or nothing."""
    try:
        n_groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as exc:
        return f"is no regular expression: {exc}"
    if n_groups != 1:
        return f"must have one group ( ) around the number, and has {n_groups}; (?: ) is none"
    return ""
