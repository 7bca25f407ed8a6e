"""``kubectl``, which knows the cluster and who the user is there."""

import subprocess
from collections.abc import Sequence

from sweeper.errors import LauncherError, UncertainJobError, redacted

_TIMEOUT_S = 60.0
_WITHOUT_KUBECTL = {
    "apply": "install it, or save the manifest (`sweeper submit --dry-run`) to a file and run "
    "`kubectl apply -f FILE` where it is",
    "delete": "delete the Job with its pods where it is",
    "get": "look where it is",
}


def apply(manifest_text: str, *, timeout_s: float = _TIMEOUT_S) -> str:
    """Have kubectl create or update what a manifest says, in its current context and namespace.

    Args:
        manifest_text: As :func:`~sweeper.launchers.kubernetes.manifest.render_manifest` makes it.
        timeout_s: How long to wait for it, > 0.

    Returns:
        What kubectl said: a line an object, which is ``created``, ``configured`` or ``unchanged``.
        A Job that has ended and is still there stays ``unchanged``: nothing runs.

    Raises:
        UncertainJobError: If it does not answer in time.
        LauncherError: If there is no kubectl, or it refuses.
    """
    return _kubectl(["apply", "-f", "-"], manifest_text, timeout_s)


def is_there(name: str, *, timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether there is a Job or CronJob of that name in kubectl's current context and namespace.

    Raises:
        LauncherError: If there is no kubectl, it refuses, or does not answer in time.
    """
    words = ["get", "--ignore-not-found", "--output=name", f"job/{name}", f"cronjob/{name}"]
    return bool(_kubectl(words, "", timeout_s))


def delete(name: str, *, timeout_s: float = _TIMEOUT_S) -> str:
    """Have kubectl delete the Job or CronJob of that name with its pods, and its ConfigMap.

    Returns:
        What kubectl said: a line an object; nothing for what is not there.

    Raises:
        LauncherError: If there is no kubectl, it refuses, or does not answer in time.
    """
    objects = [f"job/{name}", f"cronjob/{name}", f"configmap/{name}-study"]
    return _kubectl(["delete", "--ignore-not-found", "--wait=false", *objects], "", timeout_s)


def _kubectl(words: Sequence[str], text: str, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            ["kubectl", *words],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError as exc:
        raise LauncherError(f"kubectl: is not on the PATH; {_WITHOUT_KUBECTL[words[0]]}") from exc
    except OSError as exc:
        raise LauncherError(f"kubectl: cannot be started: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise UncertainJobError(
            f"kubectl {words[0]}: no answer within {timeout_s:g} s; is the cluster there? "
            "`kubectl cluster-info` tells. To ask for the same again does no harm"
        ) from exc
    if done.returncode != 0:
        raise LauncherError(_refusal(words[0], done))
    return done.stdout.strip()


def _refusal(word: str, done: subprocess.CompletedProcess[str]) -> str:
    said = redacted(done.stderr.strip() or done.stdout.strip()) or "nothing"
    message = f"kubectl {word}: ended with {done.returncode} and said: {said}"
    if "field is immutable" in said:
        message += "\nA Job cannot change once it is there: `kubectl delete job NAME` first"
    return message
