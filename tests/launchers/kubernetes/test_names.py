import pytest

from sweeper.launchers.kubernetes.names import (
    file_fault,
    image_fault,
    label_fault,
    label_key_fault,
    label_value,
    label_value_fault,
    nearest_label,
)


@pytest.mark.parametrize("name", ["a", "9", "sweep-2", "a" * 63])
def test_labels(name: str) -> None:
    assert label_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "near"),
    [("A", "'a'"), ("a_b", "'a-b'"), ("-a", "'a'"), ("a.b", "'a-b'"), ("Über 2", "'ber-2'")],
)
def test_no_labels(name: str, near: str) -> None:
    assert label_fault(name).endswith(f"neither first nor last, e.g. {near}")
    assert label_fault(nearest_label(name)) == ""


def test_a_label_is_short_enough_for_what_comes_behind_it() -> None:
    assert label_fault("abc", n_most=3) == ""
    assert label_fault("abcd", n_most=3) == "must have at most 3 signs, this one has 4"
    assert label_fault("ab_c", n_most=3).endswith("e.g. 'ab'")
    assert label_fault("").endswith("neither first nor last")


@pytest.mark.parametrize("image", [
    "a", "a:1", "python:3.11-slim", "library/python", "localhost:5000/a/b-c_d.e:V1.0",
    "registry.example.com/a@sha256:" + "0" * 64, "a/b:1@sha256:" + "f" * 64, "my__image/x--y",
])  # fmt: skip
def test_images(image: str) -> None:
    assert image_fault(image) == ""


@pytest.mark.parametrize(
    "image",
    [
        "",
        " ",
        "a b",
        "A",
        "a/B",
        "a:",
        "a:-1",
        "a@sha256:0",
        "https://a/b",
        "a//",
        "a//b",
        "Team/a",
    ],
)
def test_no_images(image: str) -> None:
    assert image_fault(image).startswith("must name an image")


@pytest.mark.parametrize("key", ["pool", "example.com/pool", "app.kubernetes.io/name", "A_b.c"])
def test_label_keys(key: str) -> None:
    assert label_key_fault(key) == ""


@pytest.mark.parametrize("key", ["", "/a", "a/", "Example.com/pool", "a b", "a" * 64])
def test_no_label_keys(key: str) -> None:
    assert label_key_fault(key) != ""


@pytest.mark.parametrize("name", ["a.yaml", "Nets_2.yaml", ".a"])
def test_files(name: str) -> None:
    assert file_fault(name) == ""


@pytest.mark.parametrize("name", ["", "..", "..a", "a/b", "a b"])
def test_no_files(name: str) -> None:
    assert file_fault(name) != ""


@pytest.mark.parametrize(
    ("text", "value"),
    [("digits", "digits"), ("Nets.2_a", "Nets.2_a"), ("a b", "a-b"), ("_a.", "a"), ("ü", "")],
)
def test_any_text_makes_a_label_value(text: str, value: str) -> None:
    assert label_value(text) == value
    assert label_value_fault(value) == ""
