"""Whether a trial can be trained here as it was, and how closely the numbers must agree then."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import cast, get_args

from sweeper.config.settings import Precision, TrainConfig
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.paths import RunPaths
from sweeper.study.recorded_trial import RecordedTrial
from sweeper.workers.devices import Placement, place_workers, thread_limit


class CannotVerifyError(Exception):
    """Why a trial cannot be trained here as it was: a sentence, and the way out."""


@dataclass(frozen=True)
class Conditions:
    """Under which a trial is trained again.

    Attributes:
        placement: Where.
        precision: As it was.
        loose: Why the same numbers, bit for bit, cannot be asked for, a clause each; empty if
            they can.
        is_own: Whether it is training of the user's own.
    """

    placement: Placement
    precision: Precision
    loose: tuple[str, ...]
    is_own: bool

    @property
    def second_is_rounded_otherwise(self) -> bool:
        """Whether the second run alone shows what rounding makes of the trial.

        Two runs that round alike may agree where the recorded one, which did not, is far off: a
        bias before a batch norm has no gradient but rounding errors, and Adam takes whole steps.
        """
        return bool(self.loose) and not self.is_own


def find_conditions(
    spec: StudySpec, paths: RunPaths, trial: RecordedTrial, code: str
) -> Conditions:
    """What a trial's record asks for.

    Args:
        spec: The study file.
        paths: Of the study.
        trial: The trial.
        code: Version of the study's own code here; empty if it has none.

    Raises:
        CannotVerifyError: If it is not to be had here.
    """
    if not trial.starts:
        raise CannotVerifyError(
            f"its event log, {paths.events(trial.number)}, is not here, which alone has its "
            "curves and where it ran: verify it on the machine that trained it"
        )
    if not trial.history:
        raise CannotVerifyError("it reported nothing, so there is nothing to compare")
    _require_torch(trial)
    _require_code(trial, code)
    placement = _place(spec, trial)
    [precision] = _only(trial, "precision", spec.run.precision)
    if precision not in get_args(Precision):
        raise CannotVerifyError(f"its event log has a precision that is none, {precision!r}")
    return Conditions(
        placement,
        cast(Precision, precision),
        tuple(_loose(trial, placement)),
        is_own=not isinstance(trial.config.train, TrainConfig),
    )


def _only(trial: RecordedTrial, tag: str, default: str) -> list[str]:
    """The one value of a tag, as all processes of the trial must have had."""
    found = trial.tags(tag) or [default]
    if len(found) > 1:
        raise CannotVerifyError(
            f"it was interrupted, and its processes had different values of the tag {tag} "
            f"({', '.join(found)}), which no single one can have: verify another trial"
        )
    return found


def _require_torch(trial: RecordedTrial) -> None:
    here = version("torch")
    [there] = _only(trial, "version.torch", here)
    if there != here:
        raise CannotVerifyError(
            f"it ran with torch {there}, and here is torch {here}, which may compute other "
            "numbers: verify it where that one is installed"
        )


def _require_code(trial: RecordedTrial, code: str) -> None:
    [there] = _only(trial, "code", code)
    if there != code:
        commits = trial.tags("git_commit")
        way = f"check out commit {commits[0]}" if commits else "bring that version back"
        raise CannotVerifyError(
            f"your own code has changed: it ran with version {there}, and here is "
            f"{code or 'none'}: {way}, then verify it"
        )


def _place(spec: StudySpec, trial: RecordedTrial) -> Placement:
    [kind] = {device.partition(":")[0] for device in _only_kind(trial)}
    if kind == "cpu":
        return Placement("cpu", _n_threads(trial), n_sharing=1)
    try:
        placement = place_workers(spec)[0]
    except StudyError as exc:
        raise CannotVerifyError(f"it ran on {kind}, and here: {exc}") from exc
    if placement.device.partition(":")[0] != kind:
        raise CannotVerifyError(
            f"it ran on {kind}, and here trials run on {placement.device}, which computes other "
            f"numbers: verify it where there is such a device"
        )
    return placement


def _only_kind(trial: RecordedTrial) -> list[str]:
    devices = trial.tags("device") or ["cpu"]
    if len(kinds := {device.partition(":")[0] for device in devices}) > 1:
        raise CannotVerifyError(
            f"it was interrupted, and ran on {' and '.join(sorted(kinds))}, which compute "
            "different numbers: verify another trial"
        )
    return devices


def _n_threads(trial: RecordedTrial) -> int:
    """Of its last process, as far as there may be so many."""
    said = [tag for tag in trial.tags("threads") if tag.isdecimal() and int(tag) > 0]
    return min(int(said[-1]) if said else 1, thread_limit())


def _loose(trial: RecordedTrial, placement: Placement) -> Iterator[str]:
    if not isinstance(trial.config.train, TrainConfig):
        yield "nothing says that your own training comes to the same numbers with the same seed"
        return
    if placement.device != "cpu":
        yield f"on {placement.device.partition(':')[0]} two runs need not come to the same numbers"
        return
    if trial.tags("pack"):
        yield "run.pack may have computed it together with others, which rounds differently"
    if hosts := [host for host in trial.tags("host") if host != socket.gethostname()]:
        yield f"it ran on {_listed(hosts)}, whose processor may round differently"
    n_threads = trial.tags("threads")
    if n_threads != [str(placement.n_threads)]:
        yield (
            f"it ran with {_listed(n_threads) or 'an unknown number of'} threads, and here with "
            f"{placement.n_threads}, which add in another order"
        )


def _listed(words: Sequence[str]) -> str:
    return " and then ".join(words)
