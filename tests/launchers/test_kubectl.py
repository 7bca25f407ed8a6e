"""Through a real program called kubectl, alone on the PATH: never the user's own."""

from pathlib import Path

import pytest

from sweeper.errors import LauncherError
from sweeper.launchers.kubernetes import apply, delete, is_there


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_kubectl(folder: Path, script: str) -> None:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def refusal(**options: float) -> str:
    with pytest.raises(LauncherError) as caught:
        apply("kind: Job\n", **options)
    return str(caught.value)


def test_kubectl_gets_the_manifest_and_says_what_came_of_it(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; /bin/cat > {folder}/got; echo job/ü created")
    assert apply("kind: Job # ü\n") == "job/ü created"
    assert (folder / "words").read_text() == "apply -f -\n"
    assert (folder / "got").read_text(encoding="utf-8") == "kind: Job # ü\n"


def test_what_was_made_is_deleted_by_name(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; echo job deleted")
    assert delete("sweeper-mnist-3f2a9c1b") == "job deleted"
    assert (folder / "words").read_text().split() == [
        *("delete", "--ignore-not-found", "--wait=false", "job/sweeper-mnist-3f2a9c1b"),
        *("cronjob/sweeper-mnist-3f2a9c1b", "configmap/sweeper-mnist-3f2a9c1b-study"),
    ]


def test_a_job_or_a_schedule_of_that_name_is_there_or_not(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; echo cronjob.batch/sweeper-mnist-3f2a9c1b")
    assert is_there("sweeper-mnist-3f2a9c1b")
    assert (folder / "words").read_text() == (
        "get --ignore-not-found --output=name job/sweeper-mnist-3f2a9c1b "
        "cronjob/sweeper-mnist-3f2a9c1b\n"
    )
    write_kubectl(folder, "")
    assert not is_there("sweeper-mnist-3f2a9c1b")


def test_no_kubectl(folder: Path) -> None:
    assert refusal() == (
        "kubectl: is not on the PATH; install it, or save the manifest (`sweeper submit "
        "--dry-run`) to a file and run `kubectl apply -f FILE` where it is"
    )


def test_a_kubectl_that_cannot_be_started(folder: Path) -> None:
    write_kubectl(folder, "")
    (folder / "kubectl").write_bytes(b"\x00\x01")
    assert refusal() == "kubectl: cannot be started: Exec format error"


def test_a_refusal_is_told_without_passwords(folder: Path) -> None:
    write_kubectl(folder, "echo 'no such host https://me:hidden@host' >&2; exit 1")
    assert refusal() == ("kubectl apply: ended with 1 and said: no such host https://***@host")


def test_a_refusal_without_a_word(folder: Path) -> None:
    write_kubectl(folder, "exit 3")
    assert refusal() == "kubectl apply: ended with 3 and said: nothing"


def test_a_job_that_is_there_already_cannot_change(folder: Path) -> None:
    write_kubectl(folder, "echo 'spec.template: Invalid value: field is immutable' >&2; exit 1")
    assert refusal().endswith(
        "\nA Job cannot change once it is there: `kubectl delete job NAME` first"
    )


def test_a_cluster_that_does_not_answer(folder: Path) -> None:
    write_kubectl(folder, "exec /bin/sleep 60")
    assert refusal(timeout_s=0.2) == (
        "kubectl apply: no answer within 0.2 s; is the cluster there? `kubectl cluster-info` "
        "tells. To ask for the same again does no harm"
    )
