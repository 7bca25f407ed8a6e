"""``kubectl``, which knows the cluster and who the user is there."""

import subprocess

from sweeper.errors import LauncherError, redacted

_TIMEOUT_S = 60.0


def apply(manifest_text: str, *, timeout_s: float = _TIMEOUT_S) -> str:
    """Have kubectl create or update what a manifest says, in its current context and namespace.

    Args:
        manifest_text: As :func:`~sweeper.launchers.kubernetes.manifest.render_manifest` makes it.
        timeout_s: How long to wait for it, > 0.

    Returns:
        What kubectl said: a line an object, which is ``created``, ``configured`` or ``unchanged``.
        A Job that has ended and is still there stays ``unchanged``: nothing runs.

    Raises:
        LauncherError: If there is no kubectl, it refuses, or does not answer in time.
    """
    try:
        done = subprocess.run(
            ["kubectl", "apply", "-f", "-"],
            input=manifest_text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError as exc:
        raise LauncherError(
            "kubectl: is not on the PATH; install it, or save the manifest to a file and run "
            "`kubectl apply -f FILE` where it is"
        ) from exc
    except OSError as exc:
        raise LauncherError(f"kubectl: cannot be started: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise LauncherError(
            f"kubectl apply: no answer within {timeout_s:g} s; is the cluster there? "
            "`kubectl cluster-info` tells. To apply the same manifest again does no harm"
        ) from exc
    if done.returncode != 0:
        raise LauncherError(_refusal(done))
    return done.stdout.strip()


def _refusal(done: subprocess.CompletedProcess[str]) -> str:
    said = redacted(done.stderr.strip() or done.stdout.strip()) or "nothing"
    message = f"kubectl apply: ended with {done.returncode} and said: {said}"
    if "field is immutable" in said:
        message += "\nA Job cannot change once it is there: `kubectl delete job NAME` first"
    return message
