import pytest
import yaml

from sweeper.errors import LauncherError
from sweeper.launchers.kubernetes.build import build_study_file
from sweeper.launchers.kubernetes.manifest import render_manifest
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
    config = build_study_file("texts", "digits", value)
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
        image="Digits", memory="16Ki", study_file_text="storage: postgresql://me:hidden@host/db\n"
    )
    with pytest.raises(LauncherError) as caught:
        render_manifest(objects)
    agent = "Job/sweep-digits: spec.template.spec.containers[0]"
    memory = "is less than 1Mi, got '16Ki'; it is counted in bytes, e.g. 16Gi"
    assert str(caught.value).splitlines() == [
        "ConfigMap/sweep-digits-study: data.digits.yaml: holds a password, which a ConfigMap "
        "shows to all; leave it out, and put PGPASSWORD or the whole MLFLOW_TRACKING_URI into a "
        "Secret",
        f"{agent}.image: must name an image, e.g. 'registry.example.com/team/sweeper:1.0', got "
        "'Digits'",
        f"{agent}.resources.limits.memory: {memory}",
        f"{agent}.resources.requests.memory: {memory}",
    ]


def test_a_study_file_that_no_object_can_hold() -> None:
    with pytest.raises(
        LauncherError, match=r"data: must not be more than 1048576 bytes, got 1048"
    ):
        render_manifest(small_job(study_file_text="ü" * 2**19 + "\n"))
