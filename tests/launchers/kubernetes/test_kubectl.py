"""Through a real program called kubectl, alone on the PATH: never the user's own."""

from pathlib import Path

import pytest

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.launchers.kubernetes.kubectl import Place, apply, current_place, delete, is_there

LAB = Place("lab", "sweeps")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_kubectl(folder: Path, script: str) -> None:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def refusal() -> str:
    with pytest.raises(LauncherError) as caught:
        apply("kind: Job\n", LAB)
    return str(caught.value)


def test_kubectl_gets_the_manifest_and_says_what_came_of_it(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; /bin/cat > {folder}/got; echo job/ü created")
    assert apply("kind: Job # ü\n", LAB) == "job/ü created"
    assert (folder / "words").read_text() == "--context=lab --namespace=sweeps apply -f -\n"
    assert (folder / "got").read_text(encoding="utf-8") == "kind: Job # ü\n"


def test_what_was_made_is_deleted_by_name(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; echo job deleted")
    assert delete("sweeper-mnist-3f2a9c1b", LAB) == "job deleted"
    assert (folder / "words").read_text().split() == [
        *("--context=lab", "--namespace=sweeps"),
        *("delete", "--ignore-not-found", "--wait=false", "job/sweeper-mnist-3f2a9c1b"),
        *("cronjob/sweeper-mnist-3f2a9c1b", "configmap/sweeper-mnist-3f2a9c1b-study"),
    ]


def test_a_job_or_a_schedule_of_that_name_is_there_or_not(folder: Path) -> None:
    write_kubectl(folder, f"echo $@ > {folder}/words; echo cronjob.batch/sweeper-mnist-3f2a9c1b")
    assert is_there("sweeper-mnist-3f2a9c1b", Place())
    assert (folder / "words").read_text() == (
        "get --ignore-not-found --output=name job/sweeper-mnist-3f2a9c1b "
        "cronjob/sweeper-mnist-3f2a9c1b\n"
    )
    write_kubectl(folder, "")
    assert not is_there("sweeper-mnist-3f2a9c1b", Place())


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


def test_a_cluster_that_does_not_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.launchers.kubernetes.kubectl._TIMEOUT_S", 0.2)
    write_kubectl(folder, "exec /bin/sleep 60")
    assert refusal() == (
        "kubectl apply: no answer within 0.2 s; is the cluster there? `kubectl cluster-info` tells"
    )


@pytest.mark.parametrize(
    ("said", "is_certain"),
    [
        ('Error from server (Forbidden): error when creating "STDIN": jobs is forbidden', True),
        ('The Job "sweeper-mnist" is invalid: spec.completions: Required value', True),
        ('error: error validating "STDIN": error validating data: unknown field "spec.x"', True),
        ("error: You must be logged in to the server (Unauthorized)", True),
        ('Error from server: admission webhook "policy" denied the request: no', True),
        ("Unable to connect to the server: unexpected EOF", False),
        ("Error from server: etcdserver: request timed out", False),
        ("Error from server (InternalError): an error on the server", False),
        ("Error from server (Forbidden): configmaps\nUnable to connect to the server: EOF", False),
    ],
)
def test_an_answer_that_may_have_got_lost_is_no_refusal(
    folder: Path, said: str, is_certain: bool
) -> None:
    (folder / "said").write_text(said)
    write_kubectl(
        folder,
        f'echo "$@" >>{folder}/words; /bin/cat >>{folder}/got\n'
        f"case $* in *delete*) ;; *) /bin/cat {folder}/said >&2; exit 1 ;; esac",
    )
    with pytest.raises(LauncherError) as caught:
        apply("kind: Job\n", LAB)
    assert isinstance(caught.value, UncertainJobError) is not is_certain
    # Of what was refused nothing stays, such as the ConfigMap of a Job.
    deleted = (folder / "words").read_text().splitlines()[1:]
    place = "--context=lab --namespace=sweeps"
    assert deleted == [f"{place} delete --ignore-not-found --wait=false -f -"] * is_certain
    assert (folder / "got").read_text() == "kind: Job\n" * (1 + is_certain)


def test_what_stays_of_a_refusal_is_told(folder: Path) -> None:
    write_kubectl(folder, "echo 'Error from server (Forbidden): no' >&2; exit 1")
    assert refusal().endswith(
        "\nIts ConfigMap may have been made before, and could not be deleted: kubectl delete: "
        "ended with 1 and said: Error from server (Forbidden): no"
    )


def test_the_place_is_that_of_kubectls_context(folder: Path) -> None:
    write_kubectl(folder, "echo lab; echo sweeps")
    assert current_place() == LAB
    write_kubectl(folder, "echo lab")
    assert current_place() == Place("lab", "default")
    write_kubectl(
        folder, "echo 'error: current-context must exist in order to minify' >&2; exit 1"
    )
    assert current_place() == Place()
