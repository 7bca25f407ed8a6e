"""How many trials a worker trains at once, and how, by the study file and the device."""

from dataclasses import dataclass, replace

from sweeper.config.grid import count_goal
from sweeper.config.study import StudySpec, has_own_training

#: The most trials at once by ``auto``, and the part of all that the study is to reach: a trial is
#: drawn without knowing how those beside it end. 8 at once of 40 cost the search no more than
#: chance does, 16 to 32 of 40 do (benchmarks/RESULTS.md).
_MOST, _PART = 64, 5
#: Samplers that draw by what is drawn, not by how it ends.
_BLIND = ("random", "grid", "qmc")


@dataclass(frozen=True, kw_only=True)
class LanePlan:
    """How a worker trains; by default one trial after the other, operator by operator.

    Attributes:
        first: Trials at once, before it is known how many are best.
        most: Trials at once at most.
        n_packed: The most of them that are one program, if theirs are alike; 1 for none.
        packs_all: Whether trials are packed, too, of which nobody knows that it is worth it.
        is_captured: Whether what trials compute is captured as CUDA graphs.
        is_asked: Whether the study file says how many trials at once.
        most_running: Trials of the study that run, on whatever machine, with which a worker begins
            one beside another, at most; None for any number.
    """

    first: int = 1
    most: int = 1
    n_packed: int = 1
    packs_all: bool = False
    is_captured: bool = False
    is_asked: bool = False
    most_running: int | None = None

    @property
    def has_lanes(self) -> bool:
        """Whether trials have their steps in turns, be it a single one."""
        return self.most > 1 or self.is_captured

    @property
    def is_open(self) -> bool:
        """Whether it is to be found out how many trials at once are best."""
        return self.first < self.most

    def found(self, n: int, *, is_bound: bool = False) -> "LanePlan":
        """With ``n`` trials at once, as far as that is within what is planned.

        Args:
            n: Found to be the best number.
            is_bound: Whether more were not tried: then what is best is looked for from there on.
        """
        n = min(n, self.most)
        most = self.most if is_bound else n
        return replace(self, first=n, most=most, n_packed=min(self.n_packed, most))

    def explain(self) -> str:
        """For people, to follow the number of workers; empty if they train one at a time."""
        if self.most == 1:
            return ""
        upto = "1 to " if self.is_open else ""
        line = f"; {upto}{self.most} trials at once in each"
        return line + (f", up to {self.n_packed} of them as one" if self.n_packed > 1 else "")


#: One trial after the other.
ALONE = LanePlan()


def plan_lanes(spec: StudySpec, device: str, n_workers: int) -> LanePlan:
    """The plan of one worker.

    On an NVIDIA GPU ``run.lanes: auto`` begins with one trial and looks for the best number, a
    power of two; ``run.pack: auto`` packs networks without convolutions: on an H100 packs of MLPs
    did 60 to 280 times what one process did, graphs on streams 22 to 57 times, and packs of CNNs
    less than those (7 to 8 times against 9 to 11). Elsewhere both are off: on a CPU there is
    nothing to gain, and on other GPUs nobody has tried.

    Args:
        spec: The study file.
        device: As torch names it.
        n_workers: That share the study's trials.
    """
    run, is_gpu = spec.run, _is_nvidia(device)
    if not run.has_lanes or has_own_training(spec.sections["train"]):
        return ALONE
    n_lanes = run.lanes if isinstance(run.lanes, int) else 1
    n_packed = run.pack if isinstance(run.pack, int) else 1
    is_asked = isinstance(run.lanes, int) or n_packed > 1
    first = max(n_lanes, n_packed)
    is_found_out = is_gpu and not is_asked
    most = _most_at_once(spec, n_workers) if is_found_out else first
    return LanePlan(
        first=first,
        most=most,
        n_packed=most if run.pack == "auto" and is_gpu else n_packed,
        packs_all=n_packed > 1,
        is_captured=is_gpu,
        is_asked=is_asked,
        most_running=_most_running(spec) if is_found_out else None,
    )


def _is_nvidia(device: str) -> bool:
    if not device.startswith("cuda"):
        return False
    import torch  # which has found the device

    return torch.version.hip is None  # AMD's go by that name, too


def _most_at_once(spec: StudySpec, n_workers: int) -> int:
    """A power of two; one if the time of a trial is limited, which is longer in company."""
    if spec.budget.trial_timeout is not None:
        return 1
    most = _most_running(spec)
    n_each = (count_goal(spec) if most is None else most) // n_workers
    return 1 << min(_MOST, max(1, n_each)).bit_length() - 1


def _most_running(spec: StudySpec) -> int | None:
    """What the search may lose, however many machines work on the study; None for any number."""
    return None if spec.sampler.name in _BLIND else count_goal(spec) // _PART
