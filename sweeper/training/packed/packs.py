"""The packs of a worker: who is a member of which, and who of none."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from sweeper.config.settings import TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.training.build import build_learner
from sweeper.training.learner import Learner, Runtime
from sweeper.training.packed.check import unfit_reason
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.signature import eager_reason, signature


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
        size: The most members of a pack, >= 2.
        tell: Told what is done otherwise than was asked.
    """

    def __init__(self, size: int, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._size = size
        self._packs: dict[Hashable, list[Pack]] = {}
        self._n_begun = 0
        self._reasons: dict[Hashable, str | None] = {}

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

        The first time that a program cannot be shared, a line says why.

        Args:
            config: As there.
            data: As there.
            runtime: As there.
            is_resumed: As there.
            name: Of the member, if it becomes one.
        """
        alone = build_learner(config, data, runtime, is_resumed=is_resumed)
        key: Hashable = eager_reason(config)
        if key is not None:
            self._note_reason(key, str(key))
            return alone
        key = signature(config, data.info, runtime)
        if key not in self._reasons:
            self._note_reason(key, unfit_reason(config, data, runtime))
        return alone if self._reasons[key] else self._pack_with_room(key).join(alone, name)

    def _pack_with_room(self, key: Hashable) -> Pack:
        packs = self._packs.setdefault(key, [])
        packs[:] = [pack for pack in packs if pack.members]
        for pack in packs:
            if len(pack.members) < self._size:
                return pack
        packs.append(Pack(self._tell, number=self._n_begun))
        self._n_begun += 1
        return packs[-1]

    def leave(self, name: Hashable) -> Membership | None:
        """Let the member of that name go; None if there is none."""
        for pack in self._all():
            for member in pack.members:
                if member.name == name:
                    pack.leave(member)
                    return Membership(pack.number, member.most)
        return None

    @property
    def at_work(self) -> list[Pack]:
        """Those with members that were given what is not done yet."""
        return [pack for pack in self._all() if pack.names_at_work]

    def _all(self) -> list[Pack]:
        return [pack for packs in self._packs.values() for pack in packs]

    def _note_reason(self, key: Hashable, reason: str | None) -> None:
        if key not in self._reasons and reason is not None:
            self._tell(f"run.pack: trained one by one: {reason}")
        self._reasons[key] = reason
