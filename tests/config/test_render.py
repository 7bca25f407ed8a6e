"""A study, written out and read back, is the same study."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config.ranges import Choices, FloatRange, IntRange, Range, option_word
from sweeper.config.reader import load_study, parse_study
from sweeper.config.render import render_public, render_setting, render_study
from sweeper.config.settings import Scalar, TrainConfig
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from tests.support.examples import examples
from tests.support.spec_files import BASE, STUDIES, study

USERS_OWN = study("train: {function: 'my:run'}")


def again(spec: StudySpec) -> StudySpec:
    return parse_study(render_study(spec), spec.path)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_a_resolved_file_says_what_the_file_said(path: Path) -> None:
    spec = load_study(path)
    resolved = again(spec)
    assert resolved.ranges() == spec.ranges()
    assert suggest_config(resolved, first_value, seed=3) == suggest_config(
        spec, first_value, seed=3
    )
    budget = replace(spec.budget, trials=spec.n_trials)
    assert resolved == replace(spec, budget=budget, sections=resolved.sections)
    assert again(resolved) == resolved
    assert render_study(resolved) == render_study(spec)


def test_a_resolved_file_writes_the_defaults_out() -> None:
    plain = yaml.safe_load(render_study(study(BASE + "train: {l1: {low: 0, high: 1}}")))
    assert plain["budget"] == {"trials": 50}
    assert plain["data"] == {"name": "digits", "validation": 0.1, "batch_size": 64}
    assert plain["train"]["momentum"] == TrainConfig.momentum
    assert plain["train"]["l1"] == {"low": 0.0, "high": 1.0}
    assert plain["pruner"] == {"name": "asha", "min_epochs": "auto", "reduction_factor": 3}
    assert list(plain["train"])[0] == "epochs"


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
#: But for what is no text: a file that holds it is refused.
LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
WORDS = st.text(LETTERS, min_size=1) | st.sampled_from(
    ["1e-4", "09", "1_0", "0o7", "null", "on", "~", "12345678901234567890", "2026-01-01", "a: b"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | NUMBERS | WORDS


@st.composite
def intervals(draw: st.DrawFn) -> Range:
    kind = draw(st.sampled_from(["int", "float", "step"]))
    is_log = draw(st.booleans())
    if kind == "int":
        low = draw(st.integers(1 if is_log else -(10**9), 10**9))
        step = 1 if is_log else draw(st.integers(1, 1000))
        return IntRange(low, low + step * draw(st.integers(1, 1000)), step, is_log)
    if kind == "step":
        return FloatRange(0.0, 12.0, step=draw(st.sampled_from([0.5, 0.75, 1.0, 12.0])))
    low, high = sorted(draw(st.tuples(*[st.floats(1e-300 if is_log else -1e300, 1e300)] * 2)))
    return FloatRange(low, high if high > low else low + 1 + abs(low), log=is_log)


def choices(options: list[Scalar]) -> Choices:
    return Choices(tuple(options))


def branched(options: dict[str, Range]) -> Choices:
    return Choices(tuple(options), {word: {"x": values} for word, values in options.items()})


KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
RANGES = intervals() | st.lists(SCALARS, min_size=1, max_size=4, unique=True).map(choices)
BRANCHED = st.dictionaries(KEYS, RANGES, min_size=1, max_size=3).map(branched)


@examples(60)
@given(st.dictionaries(KEYS.map(lambda key: f"p_{key}"), RANGES | BRANCHED | WORDS, max_size=4))
def test_any_range_and_any_text_reads_back_as_it_was(values: dict[str, Range | str]) -> None:
    spec = replace(USERS_OWN, sections={"train": {"function": "my:run", **values}})
    assert again(spec).sections == spec.sections


@examples(60)
@given(SCALARS)
def test_a_setting_to_enqueue_reads_back_as_it_was(value: Scalar) -> None:
    spec = replace(USERS_OWN, sections={"train": {"function": "my:run", "x": Choices((value,))}})
    item = f"enqueue:\n  - {render_setting({'train.x': value})}"
    text = render_study(spec).replace("enqueue: []", item)
    assert parse_study(text, spec.path).enqueue == ({"train.x": value},)


@examples(60)
@given(st.none() | st.booleans() | st.integers(-999, 999) | st.floats(0, 99, width=16))
def test_a_branch_is_named_by_its_option(option: Scalar) -> None:
    values = Choices((option,), {option_word(option): {"x": 1}})
    spec = replace(USERS_OWN, sections={"train": {"function": "my:run", "p": values}})
    assert again(spec).sections == spec.sections
    assert suggest_config(again(spec), first_value, seed=0).params[
        f"train.p.{option_word(option)}.x"
    ] == 1  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:pa55@host/db",
        "postgresql+psycopg://ann:pa55@host:5432/db?sslmode=require",
        "postgresql://ann:x/pa55@host/db",
        "postgresql://ann:x%40pa55@host/db",
        "postgresql://:pa55@host/db",
        "postgresql://host/db?user=ann&password=pa55",
    ],
)
def test_no_password_is_written_out(url: str) -> None:
    uri = url.replace("/db", "/runs")
    text = render_study(study(BASE + f"storage: {url!r}\ntracking: {{uri: {uri!r}}}"))
    assert "pa55" not in text
    assert text.count("://") == 2
    assert study(text).storage != url


def test_no_password_of_a_tracking_server_is_written_out() -> None:
    text = render_study(study(BASE + "tracking: {uri: 'https://ann:pa55@mlflow.example:5000'}"))
    assert "https://***@mlflow.example:5000" in text


def test_what_is_uploaded_has_neither_secrets_nor_how_jobs_are_submitted() -> None:
    older = (
        "train:\n  api_key: hunter2\n  call: \"login('ann', password='hunter2')\"\n  steps: 3\n"
        "cluster: {setup: ['export PGPASSWORD=hunter2']}\n"
    )
    assert render_public(older) == (
        "train:\n  api_key: \"***\"\n  call: login('ann', password=***)\n  steps: 3\n"
    )
