from pathlib import Path

import pytest

from sweeper.commands.doctor.snapshot import are_others_at_work
from sweeper.study.leases import Leases
from tests.support.clock import Clock
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


@pytest.mark.parametrize("is_alive", [True, False])
def test_whether_others_live_is_seen_by_their_leases(tmp_path: Path, is_alive: bool) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    study, clock = sweep.study, Clock()
    elsewhere = Leases(study.attributes, "elsewhere", clock)
    elsewhere.renew("other")
    assert study.queue.claim("other", "worker", n=1)
    study.leases = Leases(study.attributes, "here", clock)

    def sleep(seconds: float) -> None:
        clock.now_s += seconds
        if is_alive:
            elsewhere.renew("other")

    notes: list[str] = []
    assert are_others_at_work(study, notes.append, sleep) is is_alive
    assert notes == ["looking for 30 s whether commands on other machines live ..."]


def test_nobody_is_waited_for_where_all_agents_are_here(sweep: TrackedSweep) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail("waited in vain")

    assert not are_others_at_work(sweep.study, pytest.fail, sleep)
