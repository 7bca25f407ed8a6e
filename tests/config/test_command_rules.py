"""What ``check`` says of ``train.command`` and of the keys beside it."""

from pathlib import Path

import pytest

from sweeper.config.reader import parse_study
from sweeper.errors import SpecError
from tests.support.spec_files import study

HEAD = """\
objective: {metric: loss, direction: minimize}
train:
"""


def faults(train: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_study(HEAD + train, Path("s.yaml"))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "train",
    [
        "  command: python t.py",
        "  command: [python, t.py, '--lr=${train.lr}']\n  lr: {low: 0.1, high: 1}",
        "  command: t --n ${trial.number} --s ${trial.seed} ${trial.device}\n  epochs: 3",
        "  command: t\n  args: auto\n  lr: {low: 0.1, high: 1}",
        "  command: t\n  report: {loss: 'loss=([0-9.]+)', epoch: 'Epoch (\\d+)'}",
        "  command: t ${trial.checkpoint}\n  metrics: '${trial.checkpoint}/a.csv'",
        "  command: t\n  resume: --resume ${trial.checkpoint}/last.pt",
        "  command: t --momentum ${train.momentum}\n"
        "  opt: {choices: {sgd: {momentum: {low: 0, high: 1}}, adam: }}\n  args: auto",
    ],
)
def test_what_a_program_may_be_given(train: str) -> None:
    study(HEAD + train)


@pytest.mark.parametrize(
    ("train", "fault"),
    [
        (
            "  command: t --lr ${train.lrate}\n  args: auto\n  lr: {low: 0.1, high: 1}",
            "s.yaml:3: train.command: ${train.lrate} stands for nothing; did you mean 'train.lr'?",
        ),
        (
            "  command:\n  - t\n  - ${trial.sed}",
            "s.yaml:5: train.command[1]: ${trial.sed} stands for nothing; did you mean "
            "'trial.seed'?",
        ),
        (
            "  command: t ${ train.lr }\n  lr: 1",
            "s.yaml:3: train.command: a `${` has no `}` in the same word, '${'; close it",
        ),
        (
            "  command: t --a ${train.a}\n  a: {low: 1, high: 2}\n  lr: {low: 0.1, high: 1}",
            "s.yaml:5: train.lr: is searched, but the command does not use it; write ${train.lr} "
            "where it belongs, or set train.args: auto",
        ),
        (
            "  command: t\n  args: auto\n  a: {n: {low: 1, high: 2}}\n  b: {n: {low: 1, high: 2}}",
            "s.yaml:6: train.b.n: args: auto makes it --n, as it does train.a.n; write one of "
            "them into the command, as ${train.b.n}",
        ),
        (
            "  command: python t.py > log",
            "s.yaml:3: train.command: '>' is for a shell, and none reads it; put what needs one "
            "into a script, or write `sh -c '...'`",
        ),
        (
            '  command: "t \'x"',
            "s.yaml:3: train.command: cannot be split into words: No closing quotation, got "
            '"t \'x"',
        ),
        (
            "  command: ''",
            "s.yaml:3: train.command: cannot be split into words: there is none in it, got ''",
        ),
        (
            "  command: {choices: [a, b]}",
            "s.yaml:3: train.command: must be a string or a list, got {'choices': ['a', 'b']}",
        ),
        (
            "  command: [t,\n    3]",
            "s.yaml:4: train.command[1]: must be a string, got 3; put it in quotes",
        ),
        (
            "  command: t\n  function: 'a:b'",
            "s.yaml:3: train.command: train.function trains already; drop one of the two",
        ),
        (
            "  command: t\n  args: all",
            "s.yaml:4: train.args: must be 'auto', got 'all'",
        ),
        (
            "  command: t\n  report: {loss: 'loss=(['}",
            "s.yaml:4: train.report.loss: is no regular expression: unterminated character set at "
            "position 6, got 'loss=(['",
        ),
        (
            "  command: t\n  report: {loss: 'loss=.*'}",
            "s.yaml:4: train.report.loss: must have one group ( ) around the number, and has 0; "
            "(?: ) is none, got 'loss=.*'",
        ),
        (
            "  command: t\n  report: {val_loss: 'loss=(.*)'}",
            "s.yaml:1: objective.metric: train.report does not read loss; did you mean "
            "'val_loss'?",
        ),
        (
            "  command: t\n  report: {loss: 'l (.*)', best_loss: 'b (.*)'}",
            "s.yaml:4: train.report.best_loss: sweeper writes a metric of that name itself; give "
            "it another one",
        ),
        (
            "  command: t\n  report: {loss: 'l (.*)'}\n  metrics: '${trial.checkpoint}/a.csv'",
            "s.yaml:4: train.report: train.metrics names a file that is read; drop one",
        ),
        (
            "  command: t\n  metrics: '${trial.checkpoint}/a.txt'",
            "s.yaml:4: train.metrics: must end in .jsonl or .csv, got '${trial.checkpoint}/a.txt'",
        ),
        (
            "  command: t\n  metrics: logs/a.csv",
            "s.yaml:4: train.metrics: each trial needs a file of its own, which survives a "
            "restart; let the program write it below ${trial.checkpoint}, got 'logs/a.csv'",
        ),
    ],
)
def test_what_cannot_be_run_is_found_with_its_line(train: str, fault: str) -> None:
    assert faults(train) == [fault]


def test_no_branch_sets_what_a_program_is() -> None:
    train = "  command: t ${train.o}\n  o: {choices: {a: {report: {loss: '(1)'}}, b: }}"
    assert faults(train) == ["s.yaml:4: train.o.a.report: a branch cannot set this key"]


def test_a_program_needs_neither_data_nor_model_and_no_precision() -> None:
    assert faults("  command: t\nrun: {precision: bf16}") == [
        "s.yaml:4: run.precision: train.command computes with numbers of its own choice; drop this"
    ]
