"""``kubectl``, which knows the cluster and who the user is there."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.text import redacted

#: So long kubectl is waited for.
_TIMEOUT_S = 60.0
_TO_SUBMIT = (
    "install it, or save the manifest (`sweeper submit --dry-run`) to a file and run "
    "`kubectl apply -f FILE` where it is"
)
_WITHOUT_KUBECTL = {
    "apply": _TO_SUBMIT,
    "config": _TO_SUBMIT,
    "delete": "delete the Job with its pods where it is",
    "get": "look where it is",
}
#: What the server, or kubectl itself, says when it surely has not done it. Any other failure may
#: be an answer that got lost on its way.
_REFUSED = re.compile(
    r"Error from server \((Forbidden|Invalid|BadRequest|NotFound|AlreadyExists|Conflict)\)"
    r"|\(Unauthorized\)|denied the request|is invalid:|field is immutable"
    r"|error validating|error parsing|unable to recognize|no matches for kind|does not exist"
)
_FAILURE = re.compile("error|unable|the connection", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A cluster, and a part of it; both None for wherever kubectl turns to by itself."""

    context: str | None = None
    namespace: str | None = None

    def words(self) -> list[str]:
        """What tells kubectl to turn there."""
        return [
            *([f"--context={self.context}"] if self.context else []),
            *([f"--namespace={self.namespace}"] if self.namespace else []),
        ]

    def __str__(self) -> str:
        if self.context is None:
            return "kubectl's current context"
        return f"context {self.context}, namespace {self.namespace}"


def current_place() -> Place:
    """Where kubectl turns to now; in a pod, which needs no settings, just that.

    Raises:
        LauncherError: If there is no kubectl, or it does not answer in time.
    """
    template = '{.contexts[0].name}{"\\n"}{.contexts[0].context.namespace}'
    done = _run(["config", "view", "--minify", f"--output=jsonpath={template}"])
    context, _, namespace = done.stdout.strip().partition("\n")
    if done.returncode != 0 or not context:
        return Place()
    return Place(context, namespace or "default")


def apply(manifest_text: str, place: Place) -> str:
    """Have kubectl create or update what a manifest says; of what is refused nothing stays.

    Args:
        manifest_text: As :func:`~sweeper.launchers.kubernetes.manifest.render_manifest` makes it.
        place: Where.

    Returns:
        What kubectl said: a line an object, which is ``created``, ``configured`` or ``unchanged``.
        A Job that has ended and is still there stays ``unchanged``: nothing runs.

    Raises:
        UncertainJobError: If it does not answer in time, or its answer got lost.
        LauncherError: If there is no kubectl, or it refuses.
    """
    done = _run([*place.words(), "apply", "-f", "-"], manifest_text)
    if done.returncode == 0:
        return done.stdout.strip()
    message = _failure("apply", done)
    if not _is_refusal(done.stderr):
        raise UncertainJobError(message)
    raise LauncherError(message + _take_back(manifest_text, place))


def _is_refusal(said: str) -> bool:
    """Whether nothing of it was done, or can be: a line may be of one object alone."""
    failures = [line for line in said.splitlines() if _FAILURE.match(line)]
    return _REFUSED.search(said) is not None and all(map(_REFUSED.search, failures))


def _take_back(manifest_text: str, place: Place) -> str:
    """Delete what was made before something was refused; what to say if that fails."""
    words = [*place.words(), "delete", "--ignore-not-found", "--wait=false", "-f", "-"]
    try:
        _kubectl(words, manifest_text)
    except LauncherError as exc:
        return f"\nIts ConfigMap may have been made before, and could not be deleted: {exc}"
    return ""


def is_there(name: str, place: Place) -> bool:
    """Whether there is a Job or CronJob of that name.

    Raises:
        LauncherError: If there is no kubectl, it refuses, or does not answer in time.
    """
    words = ["get", "--ignore-not-found", "--output=name", f"job/{name}", f"cronjob/{name}"]
    return bool(_kubectl([*place.words(), *words]))


def delete(name: str, place: Place) -> str:
    """Have kubectl delete the Job or CronJob of that name with its pods, and its ConfigMap.

    Returns:
        What kubectl said: a line an object; nothing for what is not there.

    Raises:
        LauncherError: If there is no kubectl, it refuses, or does not answer in time.
    """
    objects = [f"job/{name}", f"cronjob/{name}", f"configmap/{name}-study"]
    words = ["delete", "--ignore-not-found", "--wait=false", *objects]
    return _kubectl([*place.words(), *words])


def _kubectl(words: Sequence[str], text: str = "") -> str:
    done = _run(words, text)
    if done.returncode != 0:
        raise LauncherError(_failure(_verb(words), done))
    return done.stdout.strip()


def _run(words: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    verb = _verb(words)
    try:
        return subprocess.run(
            ["kubectl", *words],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError as exc:
        raise LauncherError(f"kubectl: is not on the PATH; {_WITHOUT_KUBECTL[verb]}") from exc
    except OSError as exc:
        raise LauncherError(f"kubectl: cannot be started: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise UncertainJobError(
            f"kubectl {verb}: no answer within {_TIMEOUT_S:g} s; is the cluster there? "
            "`kubectl cluster-info` tells"
        ) from exc


def _verb(words: Sequence[str]) -> str:
    return next(word for word in words if not word.startswith("-"))


def _failure(verb: str, done: subprocess.CompletedProcess[str]) -> str:
    said = redacted(done.stderr.strip() or done.stdout.strip()) or "nothing"
    message = f"kubectl {verb}: ended with {done.returncode} and said: {said}"
    if "field is immutable" in said:
        message += "\nA Job cannot change once it is there: `kubectl delete job NAME` first"
    return message
