from typing import Any

import pytest
import yaml

from sweeper.errors import LauncherError
from sweeper.launchers.kubernetes.manifest import find_mistakes, render_manifest
from sweeper.launchers.kubernetes.objects import ConfigMap, Metadata
from tests.support.kubernetes_jobs import STUDY, small_job


def scalars(text: str) -> dict[str, str | None]:
    """Style of each scalar in a YAML text: None is plain, that is without quotes."""
    return {
        token.value: token.style
        for token in yaml.scan(text)
        if isinstance(token, yaml.ScalarToken)
    }


@pytest.mark.parametrize(
    "value", ["1e-4", "y", "No", "0o17", "0x1F", "1_000", "12:30:00", "~", "null", "3", "", " a"]
)
def test_text_stays_text_whoever_reads_it(value: str) -> None:
    config = ConfigMap(metadata=Metadata(name="texts", labels={}), data={"text": value})
    style = scalars(render_manifest([config]))[value]
    assert style in ("'", '"')


def test_a_study_file_reads_as_it_was_written() -> None:
    text = render_manifest(small_job())
    assert "  digits.yaml: |\n    data: {name: digits}\n    model:" in text
    assert next(yaml.safe_load_all(text))["data"]["digits.yaml"] == STUDY


@pytest.mark.parametrize("study", ["a: 1", "a: 1\n\n\n", "a: 1 \n\tb\r\n", "# ü\n a: 1\n", "\n"])
def test_a_study_file_arrives_sign_by_sign(study: str) -> None:
    text = render_manifest(small_job(study_file_text=study))
    assert next(yaml.safe_load_all(text))["data"]["digits.yaml"] == study


def test_nothing_is_an_anchor() -> None:
    tokens = list(yaml.scan(render_manifest(small_job())))
    assert not [token for token in tokens if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]


def test_all_mistakes_of_all_objects_are_told_at_once() -> None:
    objects = small_job(
        name="Digits", memory="16GB", study_file_text="storage: postgresql://me:hidden@host/db\n"
    )
    with pytest.raises(LauncherError) as caught:
        render_manifest(objects)
    label = "must be lower-case letters, digits and '-', neither first nor last, e.g. 'digits'"
    quantity = "must be a quantity such as 500m, 4, 16G (10^9) or 16Gi (2^30), got '16GB'"
    resources = "Job/Digits: spec.template.spec.containers[0].resources"
    assert str(caught.value).splitlines() == [
        "ConfigMap/Digits-study: metadata.name: must be lower-case letters, digits, '-' and '.', "
        "up to 253, got 'Digits-study'",
        "ConfigMap/Digits-study: data.digits.yaml: holds a password, which a ConfigMap shows to "
        "all; leave it out, and put PGPASSWORD or the whole MLFLOW_TRACKING_URI into a Secret",
        f"Job/Digits: metadata.name: {label}, got 'Digits'",
        "Job/Digits: spec.template.spec.volumes[3].configMap.name: must be lower-case letters, "
        "digits, '-' and '.', up to 253, got 'Digits-study'",
        f"{resources}.limits.memory: {quantity}",
        f"{resources}.requests.memory: {quantity}",
    ]


def test_a_study_file_that_no_object_can_hold() -> None:
    with pytest.raises(
        LauncherError, match=r"data: must not be more than 1048576 bytes, got 1048"
    ):
        render_manifest(small_job(study_file_text="ü" * 2**19 + "\n"))


@pytest.mark.parametrize(
    ("manifest", "mistakes"),
    [
        ({}, ["None/: kind: must be Job or CronJob or ConfigMap, got nothing",
              "None/: metadata.name: must be lower-case letters, digits, '-' and '.', up to 253, "
              "got nothing"]),
        ({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"},
          "data": {"a/b": "x"}},
         ["ConfigMap/a: data.a/b: a file's name is letters, digits, '-', '_' and '.', got 'x'"]),
    ],
)  # fmt: skip
def test_objects_that_are_hardly_any(manifest: dict[str, object], mistakes: list[str]) -> None:
    assert find_mistakes(manifest) == mistakes


@pytest.mark.parametrize("value", [None, 3, "a", [], ["a", 3, None], {"a": {"b": []}}, True])
@pytest.mark.parametrize(
    "keys", [("metadata",), ("spec",), ("spec", "template"), ("spec", "template", "spec")]
)
def test_values_of_another_type_are_left_to_the_schema(
    value: object, keys: tuple[str, ...]
) -> None:
    manifest: dict[str, Any] = {"kind": "Job", "apiVersion": "batch/v1"}
    inner = manifest
    for key in keys[:-1]:
        inner[key] = {}
        inner = inner[key]
    inner[keys[-1]] = value
    assert all(isinstance(mistake, str) for mistake in find_mistakes(manifest))
