import pytest

from sweeper.launchers.kubernetes.names import (
    image_fault,
    label_key_fault,
    label_value,
    label_value_fault,
    nearest_label,
)


@pytest.mark.parametrize(
    ("text", "label"),
    [("A", "a"), ("a_b", "a-b"), ("-a", "a"), ("a.b", "a-b"), ("Über 2", "ber-2"), ("ü", ""),
     ("a" * 64, "a" * 63), ("a" * 62 + "_b", "a" * 62)],
)  # fmt: skip
def test_any_text_makes_a_label(text: str, label: str) -> None:
    assert nearest_label(text) == label


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


@pytest.mark.parametrize(
    ("text", "value"),
    [("digits", "digits"), ("Nets.2_a", "Nets.2_a"), ("a b", "a-b"), ("_a.", "a"), ("ü", "")],
)
def test_any_text_makes_a_label_value(text: str, value: str) -> None:
    assert label_value(text) == value
    assert label_value_fault(value) == ""
