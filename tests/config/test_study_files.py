"""A study file that builds on others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.config.ranges import Choices, FloatRange
from sweeper.config.reader import load_resolved, load_study
from sweeper.config.render import render_study, render_whole
from sweeper.errors import SpecError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files; the first is the study file."""
    monkeypatch.chdir(tmp_path)

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = Path(f"{name.replace('__', '/')}.yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return Path(f"{next(iter(files))}.yaml")

    return write


def refusals(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_study(path)
    return str(caught.value).splitlines()


LIST = "must be a list of files such as [base.yaml]"
SMALL = "data: {name: digits}\nmodel: {architecture: mlp}\n"
BASE = """\
name: base
data: {name: digits, validation: 0.2}
model: {architecture: mlp, dropout: {low: 0, high: 0.5}, width: {choices: [8, 16]}}
train: {epochs: 3, learning_rate: 0.1}
run: {workers: 2}
"""


def test_it_says_what_differs(write: Write) -> None:
    path = write(
        top="defaults: [base.yaml]\n"
        "model: {dropout: 0.1, width: {low: 8, high: 32}}\n"
        "train: {learning_rate: {low: 1e-3, high: 1}, l1: 0.1}\n"
        "run:\n",
        base=BASE,
    )
    spec = load_study(path)
    assert spec.name == "top", "a base file's name is that of another study"
    assert spec.sections["data"] == {"name": "digits", "validation": 0.2}
    assert spec.sections["train"] == {
        "epochs": 3, "learning_rate": FloatRange(1e-3, 1.0), "l1": 0.1,
    }  # fmt: skip
    assert spec.sections["model"]["dropout"] == 0.1
    assert spec.run.workers == 2, "a section that is left empty says nothing"
    assert spec.place("train.l1") == "top.yaml:3: train.l1"
    assert spec.place("train.epochs") == "base.yaml:4: train.epochs"


def test_a_later_file_says_more_and_files_are_seen_from_the_folder(write: Write) -> None:
    path = write(
        top="defaults: [common/one.yaml, common/two.yaml]\ntrain: {l2: 3}\n",
        common__one="defaults: [base.yaml]\ntrain: {epochs: 4, l1: 1, l2: 1}\n",
        common__two="defaults: [base.yaml]\ntrain: {l1: 2, l2: 2}\n",
        common__base=BASE,
    )
    train = load_study(path).sections["train"]
    assert train == {"epochs": 3, "learning_rate": 0.1, "l1": 2.0, "l2": 3.0}


def test_what_is_one_value_is_replaced_as_a_whole(write: Write) -> None:
    table = "name: table, path: x.csv, target: y"
    path = write(
        top="defaults: [base.yaml]\n"
        f"data: {{{table}, validation: {{column: part, value: b}}}}\n"
        "model: {architecture: {choices: {mlp: {depth: 2}}}}\n",
        base="data: {validation: {by: who}}\n"
        "model: {architecture: {choices: {mlp: {width: 4}, cnn: {}}}}\n",
    )
    spec = load_study(path)
    assert spec.sections["data"]["validation"] == {"column": "part", "value": "b"}
    assert spec.sections["model"]["architecture"] == Choices(("mlp",), {"mlp": {"depth": 2}})


def test_a_key_of_your_own_may_be_called_as_a_range_has_it(write: Write) -> None:
    path = write(
        top="defaults: [base.yaml]\ntrain: {low: 2}",
        base="objective: {metric: loss, direction: minimize}\ntrain: {function: 'a:b', high: 3}",
    )
    assert load_study(path).sections["train"] == {"function": "a:b", "high": 3, "low": 2}


def test_each_problem_is_told_where_it_stands(write: Write) -> None:
    path = write(
        top="defaults: [base.yaml]\ntrain: {epochs: 0}\n",
        base=f"{SMALL}train: {{epoch: 3, epochs: 2}}\nbudgt: 1",
    )
    assert refusals(path) == [
        "base.yaml:3: train.epoch: unknown key; did you mean 'epochs'?",
        "base.yaml:4: budgt: unknown key; did you mean 'budget'?",
        "top.yaml:2: train.epochs: must be greater than or equal to 1, got 0",
    ]


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ("base.yaml", f"defaults: {LIST}, got 'base.yaml'"),
        ("", f"defaults: {LIST}, got nothing"),
        ("[{a: b}]", f"defaults: {LIST}, got [{{'a': 'b'}}]"),
        ("[none.yaml]", "defaults[0]: none.yaml: no such file"),
        ("[small.yaml, .]", "defaults[1]: .: is a folder; a study is a file of YAML text"),
        ("[latin.yaml]", "defaults[0]: latin.yaml:1: not UTF-8 text; save the file as UTF-8"),
        ("[top.yaml]", "defaults[0]: top.yaml builds on this file; take it out"),
        ("[link.yaml]", "defaults[0]: link.yaml builds on this file; take it out"),
    ],
)
def test_what_is_no_base_file(write: Write, defaults: str, message: str) -> None:
    path = write(top=f"{SMALL}defaults: {defaults}", small=SMALL)
    Path("latin.yaml").write_bytes("name: ü".encode("latin-1"))
    Path("link.yaml").symlink_to("top.yaml")
    assert refusals(path) == [f"top.yaml:3: {message}"]


def test_a_base_file_is_a_mapping_and_closes_no_circle(write: Write) -> None:
    path = write(
        top=f"{SMALL}defaults: [one.yaml, list.yaml]",
        one="defaults: [two.yaml]",
        two="\ndefaults: [one.yaml]",
        list="- 1",
    )
    assert refusals(path) == [
        "list.yaml:1: a study file is a mapping of keys such as `model:` and `train:`",
        "two.yaml:2: defaults[0]: one.yaml builds on this file; take it out",
    ]


def test_files_that_build_on_each_other_without_end(write: Write) -> None:
    files = {f"f{n}": f"defaults: [f{n + 1}.yaml]" for n in range(30)}
    assert "f20.yaml:1: defaults[0]: nested too deep; take it out" in refusals(write(**files))


def test_each_file_is_read_once_however_many_build_on_it(write: Write) -> None:
    layers = {
        f"{side}{n}": f"defaults: [a{n + 1}.yaml, b{n + 1}.yaml]\ntrain: {{l1: {n}}}\n"
        for n in range(9)
        for side in "ab"
    }
    assert load_study(write(**layers, a9=BASE, b9=BASE)).sections["train"]["l1"] == 0.0
    twice = "seed: 1\nseed: 1\n"
    assert refusals(write(**layers, a9=BASE, b9=twice)) == [
        "b9.yaml:2: seed: given twice, first on line 1; keep one"
    ]


def test_what_comes_with_a_folder_reads_no_other_file(write: Write) -> None:
    path = write(study=f"defaults: [base.yaml]\n{BASE}", base="train: {epochs: 3}")
    with pytest.raises(SpecError, match="study.yaml:1: defaults: unknown key"):
        load_resolved(path)
    assert "defaults" not in render_study(load_study(path))


def test_a_file_that_stands_alone_says_the_same(write: Write) -> None:
    alone = write(alone=f"# mine\n{BASE}")
    assert render_whole(alone, ()) == alone.read_text()
    top = write(top="defaults: [base.yaml]\ntrain: {l1: 1e-7}\n", base=BASE)
    overrides = ["train.epochs=9", 'name="1e-4"']
    other = write(other=render_whole(top, overrides))
    assert load_study(other) == replace(load_study(top, overrides), path=other)
