"""What nobody may see stays unseen, and what comes from elsewhere is read, never run."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeper
from sweeper.config.render import render_study
from sweeper.errors import SpecError
from sweeper.text import redacted
from tests.support.examples import examples
from tests.support.secret_texts import PLAIN, QUOTED, all_forms
from tests.support.spec_files import BASE, study

PACKAGE = Path(sweeper.__file__).parent
SECRET = "hunter2"
#: No white space: such a URL is refused where it stands in a study file.
ODD = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=4)


@pytest.mark.parametrize(
    "text",
    [
        *all_forms(SECRET),
        "postgresql+psycopg://ann:x/hunter2@host:5432/db?sslmode=require",
        "postgresql://ann:x@hunter2@host/db",
        "postgresql://ann:x:hunter2%40@host/db",
        "postgresql://:hunter2@host/db",
        "http://host:5000/?password=a'hunter2",
        "('https://ann:hunter2@host',)",
        '{"uri":"http://ann:hun\'hunter2@host"}',
        "first postgresql://ann:hunter2@host/db\nthen http://ann:hunter2@host:5000",
        "password='hunter2 that is not closed",
        "PGPASSWORD='it'\"'\"'s hunter2' psql",
        r"PGPASSWORD=my\ hunter2\'s psql",
    ],
)
def test_secrets_are_blackened_and_stay_so(text: str) -> None:
    shown = redacted(text)
    assert SECRET not in shown
    assert "***" in shown
    assert redacted(shown) == shown


@examples(100)
@given(st.from_regex(r"[\w+/=.~!%^*-]{0,6}", fullmatch=True), st.sampled_from(PLAIN))
def test_no_secret_of_one_word_is_too_odd(odd: str, form: str) -> None:
    secret = f"{SECRET}{odd}{SECRET}"
    assert SECRET not in redacted(form.replace("{}", secret))
    assert SECRET not in redacted(f"before\n{form.replace('{}', secret)}\nafter")


@examples(200)
@given(st.text(max_size=4), st.text(max_size=4), st.sampled_from(QUOTED))
def test_no_secret_in_quotes_is_too_odd(
    before: str, after: str, form: Callable[[str], str]
) -> None:
    text = form(f"{SECRET}{before}{SECRET}{after}{SECRET}")
    assert SECRET not in redacted(text)
    assert SECRET not in redacted(f"before {text} after")


@examples(200)
@given(ODD, ODD, st.booleans())
def test_no_password_of_a_url_is_too_odd(before: str, after: str, is_quoted: bool) -> None:
    password = f"{SECRET}{before}{SECRET}{after}{SECRET}"
    url = f"postgresql://ann:{quote(password, safe='') if is_quoted else password}@host/db"
    for text in (url, repr(url), repr((url, 1)), json.dumps({"url": url}), f"no {url}: refused"):
        assert SECRET not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/ann/sweep.db",
        "http://localhost:5000/#/experiments/1",
        "write to ann@host, or see http://host/page",
        "IndexError: index 5 is out of range for n_tokens=4",
        "password authentication failed for user 'ann'",
        "s.yaml:14: cluster.secret: must be the name of a Secret, got 'a b'",
        "s.yaml:3: train.token: unknown key; did you mean 'tokens'?",
        "pad_token='</s>', eos_token=3, mask_token: x, max_tokens: 512, tokenizer: bert",
        "token_dropout=0.1 token_type_ids: 5",
        "check the address, the server and its credentials. Nothing is lost",
        'Error: secrets "sweeper" not found',
        "loss_per_token=2.34512345, ms per token: 12.5, bits_per_token: 1e-05.",
        "token_accuracy: 0.9, key_size: 8, n_tokens=5",
        "image_token: 5, use_class_token: true, {'distill_token': 0.25, 'n': 1} token=nan",
        "file:///home/ann@work/mlruns/artifacts and sqlite:////home/ann@work/mlruns/mlflow.db",
        "docker run -u 1000:1000 image",
    ],
)
def test_what_holds_no_password_is_shown_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_long_word_of_words_for_secrets_takes_no_minutes() -> None:
    text = "password" * 100_000  # quadratic, it would hang for hours
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"storge: 'postgresql://ann:{SECRET}@host/db'",
        f"storage: {{'postgresql://ann:{SECRET}@host/db': 1}}",
        f"storage: ['postgresql://ann:{SECRET}@host/db']",
        f"storage: 'oracle://ann:{SECRET}@host/db'",
        f"'postgresql://ann:{SECRET}@host/db': 1",
        f"run: 'postgresql://ann:{SECRET}@host/db'",
        f"run: {{workers: 'postgresql://ann:{SECRET}@host/db'}}",
        f"run: {{object_store: 'postgresql://ann:{SECRET}@host/db'}}",
        f"run: {{object_store: 's3://bucket?token={SECRET}'}}",
        f"name: 'postgresql://ann:{'x' * 70}{SECRET}{'x' * 70}@host/db'",
        f"objective: {{metric: 'postgresql://ann:{SECRET}@host/db'}}",
        f"objective: {{direction: 'postgresql://ann:{SECRET}@host/db'}}",
        f"train: {{optimizer: {{choices: ['postgresql://ann:{SECRET}@host/db']}}}}",
        f"forbid: ['postgresql://ann:{SECRET}@host/db']",
        f"enqueue: [{{train.l1: 'postgresql://ann:{SECRET}@host/db'}}]",
    ],
)
def test_a_url_in_the_wrong_place_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        study(BASE + text)
    assert SECRET not in str(caught.value)


def test_the_file_of_a_study_as_it_was_run_holds_no_password() -> None:
    url = f"postgresql://ann:p%40{SECRET}%2F@host:5432/db?sslpassword={SECRET}"
    uri = url.replace("5432", "5433")
    text = render_study(
        study(
            f"{BASE}storage: '{url}'\ntracking: {{uri: '{uri}'}}\n"
            f"cluster: {{setup: ['export A={SECRET}']}}"
        )
    )
    assert SECRET not in text
    assert "postgresql://***@host:5432/db?sslpassword=***" in text
    assert "postgresql://***@host:5433/db?sslpassword=***" in text
    assert study(text).name == "s"


@cache
def nodes() -> Mapping[str, Sequence[ast.AST]]:
    """Those of the syntax of each file of the package, by its path in there."""
    return {
        path.relative_to(PACKAGE).as_posix(): [*ast.walk(ast.parse(path.read_text("utf-8")))]
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def calls() -> Sequence[tuple[str, str, ast.Call]]:
    """File, dotted name and node of every call in the package."""
    return [
        (file, ast.unparse(node.func), node)
        for file, found in nodes().items()
        for node in found
        if isinstance(node, ast.Call)
    ]


def keywords(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def test_weights_are_loaded_as_weights_alone() -> None:
    found = [(file, keywords(node)) for file, name, node in calls() if name == "torch.load"]
    assert found, "the rule has nothing to look at"
    assert [file for file, given in found if given.get("weights_only") != "True"] == []


def test_arrays_and_yaml_are_read_without_objects() -> None:
    loads = {"np.load", "numpy.load"}
    arrays = [file for file, name, node in calls() if name in loads and len(keywords(node)) > 0]
    assert arrays == []
    unsafe = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}
    assert [file for file, name, _ in calls() if name in {f"yaml.{word}" for word in unsafe}] == []


def test_nothing_is_unpickled_or_evaluated() -> None:
    """But what a process hands to its own workers, over a channel that no other can write to."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    modules: dict[str, set[str]] = {}
    for file, syntax in nodes().items():
        found = modules.setdefault(file, set())
        for node in syntax:
            if isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.Attribute):
                assert node.attr not in ("Loader", "FullLoader", "UnsafeLoader", "read_pickle")
    assert [file for file, names in modules.items() if names & banned] == ["config/in_memory.py"]
    assert any("yaml" in names for names in modules.values())
    assert [file for file, name, _ in calls() if name in ("eval", "exec", "compile")] == []
