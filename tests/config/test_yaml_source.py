"""YAML text -> values that know their line, by the rules of YAML 1.2; and no text is a crash."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config.problems import Problems
from sweeper.config.reader import parse_study
from sweeper.config.yaml_source import Located, load_source, parse_scalar
from sweeper.errors import SpecError
from tests.support.examples import examples


def source(text: str) -> Located:
    problems = Problems()
    top = load_source(text, "s.yaml", problems)
    problems.raise_if_any()
    assert top is not None
    return top


def refused(text: str) -> list[str]:
    problems = Problems()
    load_source(text, "s.yaml", problems)
    with pytest.raises(SpecError) as caught:
        problems.raise_if_any()
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.25", -0.25),
        ("12", 12),
        ("+3", 3),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("999999999999999999", 999999999999999999),
        ("99999999999999999999", 1e20),
        ("1e999", math.inf),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    assert parse_scalar(text) == value
    assert type(parse_scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    ["on", "yes", "No", "1:30", "2026-01-31", "1_000", "1__0", "1_", "e5", ".", "0b1", "=", "١"],
)
def test_what_only_yaml_1_1_reads_stays_text(text: str) -> None:
    assert parse_scalar(text) == text
    assert source(f"a: {text}").value["a"].value == text


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_scalar(".nan"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["'1e-4'", '"1e-4"', "|-\n  1e-4", ">-\n  1e-4"])
def test_a_quoted_or_block_scalar_is_text(text: str) -> None:
    assert source(f"a: {text}").value["a"].value == "1e-4"


def test_every_value_knows_its_line_and_its_dotted_path() -> None:
    top = source("# first\na:\n  b: [1,\n      2]\n  c:\n    d: 3\n")
    places = [(top.origin.line, top.path)]

    def walk(item: Located) -> None:
        inner = item.value
        for value in inner.values() if isinstance(inner, dict) else inner:
            places.append((value.origin.line, value.path))
            if isinstance(value.value, dict | list):
                walk(value)

    walk(top)
    assert places == [
        (1, ""), (2, "a"), (3, "a.b"), (3, "a.b[0]"), (4, "a.b[1]"), (5, "a.c"), (6, "a.c.d"),
    ]  # fmt: skip
    assert top.plain() == {"a": {"b": [1, 2], "c": {"d": 3}}}


def test_an_anchor_may_be_used_again_and_a_byte_order_mark_is_no_text() -> None:
    assert source("\ufeffa: &x [1]\nb: *x").plain() == {"a": [1], "b": [1]}


_TOP = "1: a study file is a mapping of keys such as `model:` and `train:`"
_BIG = "nested too deep, or aliases unfold without end"
_YAML = "not valid YAML: "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [_TOP]),
        ("# nothing yet\n", [_TOP]),
        ("- a\n- b", [_TOP]),
        ("just words", [_TOP]),
        ("a: 1\nb: 2\na: 3\nb: 4", [
            "3: a: given twice, first on line 1; keep one",
            "4: b: given twice, first on line 2; keep one",
        ]),
        ("x:\n  a: 1\n  a: 1", ["3: x.a: given twice, first on line 2; keep one"]),
        ("a: {x: 1}\nb:\n  <<: {y: 1}", [
            "3: b: merge keys (<<) are not read; write the keys out"
        ]),
        ("[a]: 1\n{b: 1}: 2\n'': 3\n?\n: 4\n\"c\\nd\": 5", [
            "1: a key must be a word, got a list",
            "2: a key must be a word, got a mapping",
            "3: a key must be a word, got ''",
            "4: a key must be a word, got ''",
            "6: a key must be a word, got 'c\\nd'",
        ]),
        ("a: !mine 5\nb: !!python/name:os.system x\nc: !!str 5\nd: !x {e: 1}\n!!str f: 1", [
            "1: a: tags are not read, got '!mine'; drop it",
            "2: b: tags are not read, got 'tag:yaml.org,2002:python/name:os.system'; drop it",
            "3: c: tags are not read, got 'tag:yaml.org,2002:str'; drop it",
            "4: d: tags are not read, got '!x'; drop it",
            "5: tags are not read, got 'tag:yaml.org,2002:str'; drop it",
        ]),
        ("a: {b: 1", [
            f"1: {_YAML}while parsing a flow mapping, expected ',' or '}}', but got '<stream end>'"
        ]),
        ("a: {b: run ${c}, d: 1}", [
            f"1: {_YAML}while parsing a flow mapping, expected ',' or '}}', but got '{{'; "
            "within { } a text with ${...} needs quotes"
        ]),
        ("a:\n  b: 1\n c: 2", [
            f"3: {_YAML}while parsing a block mapping, expected <block end>, "
            "but found '<block mapping start>'"
        ]),
        ("a:\n\tb: 1", [
            f"2: {_YAML}while scanning for the next token, found character '\\t' "
            "that cannot start any token"
        ]),
        ("a: 1\nb: *x", [f"2: {_YAML}found undefined alias 'x'"]),
        ("a: 1\n---\nb: 1", [
            f"2: {_YAML}expected a single document in the stream, but found another document"
        ]),
        ("a: 1\nb: \0", [f"2: {_YAML}the character '\\x00' is not allowed"]),
        ("a: &x {b: *x}", [f"1: {_BIG}"]),
        ("a:\n  b: " + "[" * 60 + "]" * 60, [f"2: {_BIG}"]),
        ("a: " + "[" * 2000, [f"1: {_BIG}"]),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ), [f"1: {_BIG}"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_line(text: str, expected: list[str]) -> None:
    assert refused(text) == [f"s.yaml:{line}" for line in expected]


@examples(200)
@given(st.text() | st.text(alphabet="ab{}[]:,-?&*!|>'\"#%@<~.0e_ \n\t"))
def test_no_text_is_a_crash(text: str) -> None:
    try:
        parse_study(text, Path("s.yaml"))
    except SpecError as exc:
        lines = str(exc).split("\n")
        assert all(re.match(r"s\.yaml:[1-9]\d*: .", line) for line in lines), lines
        assert all(line.isprintable() for line in lines), lines
