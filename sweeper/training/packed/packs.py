"""The packs of a worker: who is a member of which, and who of none."""

import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from sweeper.config.references import is_reference
from sweeper.config.settings import TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.training.build import build_learner
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Learner, Runtime
from sweeper.training.packed.capture import Capture
from sweeper.training.packed.check import rows_reason, unfit_reason
from sweeper.training.packed.modules import dropouts_of
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.signature import eager_reason, signature

#: Seconds between two looks at whether the device is done.
_LOOK_EVERY_S = 2e-4
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: Parameters of a network that is packed without being asked for: a batch of more keeps a GPU at
#: work by itself, and whether they can be packed is found out on a CPU.
_LARGEST = 2**22


@dataclass(frozen=True)
class Membership:
    """That a trial was a member of a pack.

    Attributes:
        pack: Its number among those of the worker, from 0.
        most: Members, itself included, that one call has computed at once with it, at most.
    """

    pack: int
    most: int


class Packs:
    """Builds learners, as members of packs where their trials have the same program.

    Args:
        size: The most members of a pack, >= 1. Packs of one are made only to be captured.
        tell: Told what is done otherwise than was asked.
        new_capture: Makes what captures the programs of a pack; None to compute operator by
            operator.
        takes_all: Whether networks are packed, too, that are large or have convolutions, or whose
            batches are not captured.
    """

    def __init__(
        self,
        size: int,
        tell: Callable[[str], None],
        new_capture: Callable[[], Capture] | None = None,
        *,
        takes_all: bool = True,
    ) -> None:
        self._tell = tell
        self._size = size
        self._new_capture = new_capture
        self._takes_all = takes_all
        self._packs: list[tuple[Hashable, Pack]] = []
        self._n_begun = 0
        self._unfit: dict[Hashable, str | None] = {}
        self._said: set[str] = set()

    def build(
        self,
        config: TrialConfig,
        data: TrialData,
        runtime: Runtime,
        *,
        is_resumed: bool = False,
        name: Hashable = None,
    ) -> Learner:
        """As :func:`~sweeper.training.build.build_learner`, from which it draws nothing more.

        The first time that a program cannot be shared or captured, a line says why.

        Args:
            config: As there.
            data: As there.
            runtime: As there.
            is_resumed: As there.
            name: Of the member, if it becomes one.
        """
        alone = build_learner(config, data, runtime, is_resumed=is_resumed)
        reason = eager_reason(config) or rows_reason(alone.model)
        if self._is_said("trained one by one", reason):
            return alone
        assert config.model is not None
        key = signature(config, data.info, runtime)
        is_own = is_reference(config.model.architecture)
        is_packed = self._is_worth_packing(data, alone) and not self._is_unfit(
            key, config, data, runtime
        )
        reason = _uncaptured_reason(data, alone, is_drawn_for=is_packed and is_own)
        is_captured = self._new_capture is not None and not self._is_said(
            "computed without CUDA graphs", reason
        )
        if is_packed:
            pack = self._pack_with_room(key, is_own=is_own)
        elif is_captured:
            pack = self._new_pack(None, is_single=True, is_own=is_own)
        else:
            return alone
        return pack.join(alone, name, takes_rows=is_captured)

    def _is_worth_packing(self, data: TrialData, alone: EagerLearner) -> bool:
        if self._size == 1 or self._takes_all:
            return self._size > 1
        modules = alone.model.modules()
        return (
            not any(isinstance(module, _CONVOLUTIONS) for module in modules)
            and sum(parameter.numel() for parameter in alone.parameters) <= _LARGEST
            and _uncaptured_reason(data, alone, is_drawn_for=False) is None
        )

    def _is_unfit(
        self, key: Hashable, config: TrialConfig, data: TrialData, runtime: Runtime
    ) -> bool:
        if key not in self._unfit:
            self._unfit[key] = unfit_reason(config, data, runtime)
        return self._is_said("trained one by one", self._unfit[key])

    def _is_said(self, consequence: str, reason: str | None) -> bool:
        """Whether there is a reason, which is told once."""
        if reason is not None and reason not in self._said:
            self._said.add(reason)
            key = "run.lanes" if self._size == 1 else "run.pack"
            self._tell(f"{key}: {consequence}: {reason}")
        return reason is not None

    def _pack_with_room(self, key: Hashable, *, is_own: bool) -> Pack:
        for other, pack in self._packs:
            if other == key and len(pack.members) < self._size:
                return pack
        return self._new_pack(key, is_own=is_own)

    def _new_pack(self, key: Hashable, *, is_own: bool, is_single: bool = False) -> Pack:
        capture = None if self._new_capture is None else self._new_capture()
        pack = Pack(self._tell, capture, number=self._n_begun, is_single=is_single, is_own=is_own)
        self._n_begun += 1
        self._packs.append((key, pack))
        return pack

    def leave(self, name: Hashable) -> Membership | None:
        """Let the member of that name go; None if there is none."""
        for pack in self._all():
            for member in pack.members:
                if member.name == name:
                    with suppress(torch.OutOfMemoryError):  # how it ended is known already
                        pack.leave(member)
                    self._packs = [each for each in self._packs if each[1].members]
                    return Membership(pack.number, member.most)
        return None

    @property
    def at_work(self) -> list[Pack]:
        """Those with members that were given what is not done yet."""
        return [pack for pack in self._all() if pack.names_at_work]

    @property
    def busy(self) -> list[Pack]:
        """Those whose members would have to wait for the device."""
        return [pack for pack in self._all() if not pack.is_ready]

    def wait(self) -> None:
        """Wait until some of those that are busy are not; no time if none is."""
        busy = self.busy
        while busy and not any(pack.is_ready for pack in busy):
            time.sleep(_LOOK_EVERY_S)

    def _all(self) -> list[Pack]:
        return [pack for _, pack in self._packs]


def _uncaptured_reason(data: TrialData, alone: EagerLearner, *, is_drawn_for: bool) -> str | None:
    """Why no captured program computes the batches of a trial; None if one may.

    Args:
        data: Of the trial.
        alone: Of the trial.
        is_drawn_for: Whether its dropouts draw from torch's generator, outside of the model.
    """
    if alone.accumulate > 1:
        return "train.accumulate: a graph makes an update of one batch"
    if alone.augment is not None:
        return "augmentation and mixup draw for each batch by themselves"
    if is_drawn_for and any(type(module) is nn.Dropout for module in dropouts_of(alone.model)):
        return "model.architecture: dropouts of your own network are drawn for one trial at a time"
    if not data.train.is_table:
        return "batches are loaded one by one, or differ in their length"
    return None
