"""Every message that a study file can meet: its full text, with file and line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.config.problems import Origin, Problems
from sweeper.config.reader import load_study, parse_study, read_study
from sweeper.config.yaml_source import Located
from sweeper.errors import SpecError
from tests.support.spec_files import BASE, assert_refused


def test_all_problems_come_at_once_in_file_order() -> None:
    assert_refused(
        """\
budgt: 5
objective: {metric: val_acc}
pruner: {name: median, min_epochs: 30, patience: 3}
data: {name: mnits, batch_size: 0}
model:
  architecture: {choices: {mlp: {depht: 2}, cnn: {}}}
  dropout: {low: 0.5, high: 0.1}
train: {epochs: 20, learning_rate: {low: 0, high: 1, log: true}, optimiser: sgd}
run: {workers: 2}
forbid:
  - {model.dropout: 0.3, train.l1: 0}
storage: sqlite:///x.db
seed: 1
seed: 2
""",
        """
1: budgt: unknown key; did you mean 'budget'?
2: objective.metric: nobody reports 'val_acc'; did you mean 'val_accuracy'?
3: pruner.patience: median does not look at it; it takes min_epochs, startup_trials
3: pruner.min_epochs: asks for 30 epochs, but train.epochs is 20; lower one
4: data.name: unknown data set 'mnits'; did you mean 'mnist'?
4: data.batch_size: must be greater than or equal to 1, got 0
6: model.architecture.mlp.depht: unknown key; did you mean 'depth'?
7: model.dropout: low must be < high, got low=0.5 high=0.1
8: train.optimiser: unknown key; did you mean 'optimizer'?
8: train.learning_rate: must be greater than 0, got 0
9: run.workers: claims on SQLite are not atomic; use storage: auto, PostgreSQL, or workers: 1
11: forbid[0].train.l1: is not searched; known: model.architecture
14: seed: given twice, first on line 13; keep one
""",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name:", "3: name: must be a string, got nothing"),
        ("name: 7", "3: name: must be a string, got 7; put it in quotes"),
        ("name: [a]", "3: name: must be one value, got a list"),
        ("name: ../x", "3: name: must be up to 100 letters, digits, '.', '_' or '-', a letter or "
         "digit first, got '../x'"),
        (f"name: {'x' * 101}", "3: name: must be up to 100 letters, digits, '.', '_' or '-', a "
         f"letter or digit first, got '{'x' * 76}..."),
        ("seed: 1.5", "3: seed: must be a whole number, got 1.5"),
        ("seed: 99999999999999999999", "3: seed: must be a whole number, got 1e+20"),
        ("seed: 1_000", "3: seed: must be a whole number, got '1_000'"),
        ("budget: 5", "3: budget: must be a mapping of trials, timeout, trial_timeout, got 5"),
        ("budget: {trials: 0, timeout: soon}",
         "3: budget.trials: must be greater than or equal to 1, got 0\n"
         "3: budget.timeout: must be a duration such as 2h, 90m, 1h30m or 45s, got 'soon'"),
        ("budget: {trials: true, timeout: 0s}",
         "3: budget.trials: must be a whole number, got true\n"
         "3: budget.timeout: must be greater than 0, got '0s'"),
        ("budget: {timeout: .inf}", "3: budget.timeout: must be finite, got inf"),
        ("budget: {timeout: 1:30}",
         "3: budget.timeout: must be a duration such as 2h, 90m, 1h30m or 45s, got '1:30'"),
        ("sampler: {name: hyperopt}", "3: sampler.name: must be 'auto', 'conditional_gp', "
         "'tpe', 'gp', 'random', 'grid', 'qmc', 'cmaes' or 'nsga2', got 'hyperopt'"),
        ("sampler: tpe", "3: sampler: must be a mapping of name, duplicates, got 'tpe'"),
        ("run: {workers: four, device: gpu, precision: fp16}",
         "3: run.workers: must be 'auto' or a whole number, got 'four'\n"
         "3: run.device: must be auto, cpu, mps, cuda, or one GPU such as cuda:0, got 'gpu'\n"
         "3: run.precision: must be 'fp32', 'tf32' or 'bf16', got 'fp16'; did you mean 'bf16'?"),
        ("run: {workers_per_device: 0}",
         "3: run.workers_per_device: must be greater than or equal to 1, got 0"),
        ("run: {pack: 1}", "3: run.pack: must be 'auto' or 'off' or "
         "greater than or equal to 2, got 1"),
        ("run: {lanes: some}", "3: run.lanes: must be 'auto' or 'off' or a whole number, got "
         "'some'"),
        ("tracking: {log_models: all}",
         "3: tracking.log_models: must be 'none', 'best' or 'completed', got 'all'"),
        (r'train: {function: "a:b", x: "a\0b", y: ["\ud800"]}',
         r"3: train.x: a text may hold neither \0 nor half of a surrogate pair; write it without"
         "\n" r"3: train.y[0]: a text may hold neither \0 nor half of a surrogate pair; write it "
         "without"),
        ("train: 5", "3: train: must be a mapping of keys, got 5"),
        ("train: {nesterov: on, momentum: 1:30}",
         "3: train.nesterov: must be true or false, got 'on'\n"
         "3: train.momentum: must be a number, got '1:30'"),
        ("train: {l1: .nan, learning_rate: .inf, epochs: }",
         "3: train.l1: must be greater than or equal to 0, got nan\n"
         "3: train.learning_rate: must be finite, got inf\n"
         "3: train.epochs: must be a whole number, got nothing"),
        ("train: {optimizer: [sgd, adam], schedule: {cosine: 1}}",
         "3: train.optimizer: must be one value, {low: .., high: ..} or {choices: [..]}, "
         "got a list\n"
         "3: train.schedule: must be one value, {low: .., high: ..} or {choices: [..]}, "
         "got a mapping"),
        ("train: {function: run}", "3: train.function: 'run' is not of the form "
         "package.module:function, e.g. my_models.nets:build"),
    ],
)  # fmt: skip
def test_a_constant_that_is_wrong(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)


def refusals(*paths: Path) -> list[str]:
    messages = []
    for path in paths:
        with pytest.raises(SpecError) as caught:
            load_study(path)
        messages.append(str(caught.value))
    return messages


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    absent, folder, latin = tmp_path / "absent.yaml", tmp_path / "dir.yaml", tmp_path / "l.yaml"
    folder.mkdir()
    latin.write_bytes("name: x\n# größe\n".encode("latin-1"))
    assert refusals(absent, folder, latin) == [
        f"{absent}: no such file; `sweeper init {absent}` writes one",
        f"{folder}: is a folder; a study is a file of YAML text",
        f"{latin}:2: not UTF-8 text; save the file as UTF-8",
    ]


def test_a_file_that_never_ends_or_has_no_name_to_print(tmp_path: Path) -> None:
    pipe, huge = tmp_path / "pipe.yaml", tmp_path / "huge.yaml"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(10**12)
    unprintable = tmp_path / "two\nlines.yaml", tmp_path / "\udcff.yaml"
    assert refusals(pipe, huge, *unprintable) == [
        f"{pipe}: is no file on a disk; a study is a file of YAML text",
        f"{huge}: is bigger than 1,000,000 bytes, so it is no study file",
        f"'{tmp_path}/two\\nlines.yaml': the name of a study file must be printable; rename it",
        f"'{tmp_path}/\\udcff.yaml': the name of a study file must be printable; rename it",
    ]


def test_after_two_hundred_problems_nobody_reads_on() -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE + "".join(f"k{i}: 1\n" for i in range(1000)), Path("s.yaml"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 201
    assert lines[199].startswith("s.yaml:202: k199: unknown key")
    assert lines[200] == "s.yaml:203: more than 200 problems; mend those above first"


@pytest.mark.parametrize(
    "text",
    [
        "x: 'postgresql://ann:secret@host/db'",
        "x: {y: [1, 'https://host/?token=secret']}",
        "x: {choices: ['ftp://ann:secret@host', b]}",
    ],
)
def test_a_password_among_the_parameters_would_reach_mlflow(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE + f"train: {{function: 'a:b', {text}}}", Path("s.yaml"))
    assert "secret" not in str(caught.value)
    assert "a password here would be written to MLflow and to files" in str(caught.value)


def test_a_file_whose_name_cannot_name_the_study() -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(BASE, Path("my study.yaml"))
    assert str(caught.value) == (
        "my study.yaml:1: name: must be up to 100 letters, digits, '.', '_' or '-', a letter or "
        "digit first, got 'my study'; give the file such a name, or set `name:` or "
        "`--name`"
    )


_CHECK = """
import json, sys
from sweeper.cli import main
try:
    main()
except SystemExit as exc:
    heavy = sorted({"torch", "torchvision", "mlflow", "optuna", "numpy"} & sys.modules.keys())
    print(json.dumps([exc.code, heavy]))
"""


def test_checking_a_bad_file_exits_with_2_before_any_slow_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BASE + "train: {epoch: 3}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, "check", str(bad)], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [2, []]
    assert done.stderr == f"{bad}:3: train.epoch: unknown key; did you mean 'epochs'?\n"


def test_a_value_that_no_file_holds_is_named_by_where_it_was_given() -> None:
    here = Origin("the study")

    def section(key: str, name: str, value: object) -> Located:
        path = f"{key}.{name}"
        return Located({name: Located(value, here, path)}, here, key)

    top = {"model": section("model", "architecture", "mlp"), "train": section("train", "epoch", 3)}
    with pytest.raises(SpecError) as caught:
        read_study(Located(top, here, ""), Path("given.py"), Problems())
    assert str(caught.value).splitlines() == [
        "the study: data: is required, unless train.function or train.command brings its own data",
        "the study: train.epoch: unknown key; did you mean 'epochs'?",
    ]
