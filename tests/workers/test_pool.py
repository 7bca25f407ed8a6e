"""The workers of one agent: real processes, which run functions of the user's own."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sweeper.errors import StoreError, StudyError
from sweeper.events import Interrupted, Started, read_events
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.workers.devices import place_workers
from sweeper.workers.forkserver import ForkServer
from sweeper.workers.lane_plan import LanePlan
from sweeper.workers.pool import WorkerPool
from sweeper.workers.protocol import DRAIN_S
from tests.support.function_studies import GO_ON, HANG_FIRST, MEASURE, agent_args, begin_function
from tests.support.sweep import wait_until

pytestmark = pytest.mark.gate  # real workers, killed and drained

#: The first call ends its process as the kernel would, without a word.
DIE_FIRST = f"""if is_first("died"):
        os.kill(os.getpid(), signal.SIGKILL)
    {MEASURE}"""

#: As :data:`DIE_FIRST`, the second one too.
DIE_TWICE = DIE_FIRST.replace('is_first("died")', 'is_first("died") or is_first("again")')

#: With lanes that a training function has only as a test says so.
AUTO = {"workers": 1, "device": "cpu", "lanes": "auto"}


@dataclass
class Pool:
    """A pool of a study, what it said, and its clock."""

    study: SweepStudy
    server: ForkServer
    notes: list[str] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        args = agent_args(self.study)
        self.workers = WorkerPool(
            self.study, args, self.server, self.notes.append, lambda: self.now_s
        )
        self.workers.start()

    def look_until(self, is_true: Callable[[], bool]) -> None:
        """As an agent looks."""

        def look() -> bool:
            self.workers.look()
            return is_true()

        wait_until(look)

    def look_to_the_end(self) -> None:
        self.look_until(lambda: self.workers.is_empty)

    def states(self) -> dict[str, int]:
        return {state.value: n for state, n in self.study.counts().items()}

    def logs(self) -> list[Path]:
        return sorted(self.study.paths.worker_log("any").parent.glob("*.log"))


@pytest.fixture
def begun(server: ForkServer) -> Iterator[Callable[[SweepStudy], Pool]]:
    pools: list[Pool] = []

    def begin(study: SweepStudy) -> Pool:
        pools.append(Pool(study, server))
        return pools[-1]

    yield begin
    for pool in pools:
        pool.workers.kill()


Begun = Callable[[SweepStudy], Pool]


def test_workers_are_as_many_as_the_file_says_and_go_when_nothing_is_left(
    tmp_path: Path, begun: Begun
) -> None:
    pool = begun(begin_function(tmp_path, trials=5, run={"workers": 2, "device": "cpu"}))
    assert pool.workers.devices == ["cpu", "cpu"]
    pool.look_to_the_end()
    assert pool.states() == {"complete": 5}
    assert pool.workers.devices == []
    assert pool.notes == []


@pytest.mark.parametrize("said", ["", "hello"])
def test_the_log_of_a_worker_that_was_let_go_stays_if_it_has_something(
    tmp_path: Path, begun: Begun, said: str
) -> None:
    pool = begun(begin_function(tmp_path, f"print({said!r}, end='')\n    {MEASURE}"))
    pool.look_to_the_end()
    assert [log.read_text() for log in pool.logs()] == [said] * bool(said)


@pytest.mark.parametrize("is_asked", [False, True])
def test_workers_that_die_with_nothing_finished_between_give_lanes_up_if_nobody_asked_for_them(
    is_asked: bool, tmp_path: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LanePlan(most=2, first=2 if is_asked else 1, is_asked=is_asked)
    monkeypatch.setattr(
        "sweeper.workers.pool.place_workers",
        lambda spec: [replace(each, lanes=plan) for each in place_workers(spec)],
    )
    pool = begun(begin_function(tmp_path, DIE_TWICE, run=AUTO))
    pool.look_to_the_end()
    assert pool.states() == {"complete": 1}
    said = [note for note in pool.notes if not note.startswith("a worker died")]
    assert len(pool.notes) - len(said) == 2
    assert said == (
        []
        if is_asked
        else [
            "two workers died and no trial was finished between; from now on this command trains "
            "trials one by one, operator by operator, as with run.lanes: off"
        ]
    )


def test_a_dead_worker_is_replaced_and_its_trial_given_back(tmp_path: Path, begun: Begun) -> None:
    pool = begun(begin_function(tmp_path, DIE_FIRST))
    pool.look_to_the_end()
    [note] = pool.notes
    [log] = pool.logs()
    assert note == (
        "a worker died: killed by SIGKILL; its trial is given back; another worker takes its "
        f"place; log: {log}"
    )
    assert pool.states() == {"complete": 1}
    events, _ = read_events(pool.study.paths.events(0))
    assert [event.resumed for event in events if isinstance(event, Started)] == [0, 1]
    assert [event.cause for event in events if isinstance(event, Interrupted)] == [
        "its worker died: killed by SIGKILL"
    ]


def test_what_a_dead_worker_left_running_is_ended(tmp_path: Path, begun: Begun) -> None:
    body = f"""if is_first("died"):
        child = os.fork()
        if not child:
            time.sleep(600)
        (FOLDER / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)
    {MEASURE}"""
    pool = begun(begin_function(tmp_path, body))
    pool.look_to_the_end()
    assert not Path(f"/proc/{(tmp_path / 'child').read_text()}").exists()


def test_worker_after_worker_that_dies_before_it_has_a_trial_stops_the_study(
    tmp_path: Path, begun: Begun
) -> None:
    study = begin_function(tmp_path)
    study.paths.resolved_spec.write_text("budget: {trials: many}\n")
    pool = begun(study)
    with pytest.raises(StudyError) as caught:
        pool.look_to_the_end()
    message, *log = str(caught.value).splitlines()
    assert message == (
        "10 workers in a row died before they could claim a trial (a worker died: exit code 1); "
        "the last words of the last one:"
    )
    assert any("budget.trials" in line for line in log)
    assert len(pool.notes) == 10
    assert pool.states() == {"waiting": 1}


def test_a_drained_pool_puts_its_trials_back(tmp_path: Path, begun: Begun) -> None:
    pool = begun(begin_function(tmp_path, GO_ON))
    pool.look_until((tmp_path / "running").exists)
    pool.workers.drain(lambda: False)
    assert pool.workers.is_empty
    assert pool.states() == {"waiting": 1}
    assert pool.notes == []
    events, _ = read_events(pool.study.paths.events(0))
    assert isinstance(events[-1], Interrupted)
    assert events[-1].cause.startswith("stopped after epoch ")


#: How user code leaves an epoch that takes longer than a drain may, and what is said of that.
LEAVING = {
    "asks": (
        """is_first("running")
    while not trial.is_stopping():
        time.sleep(0.02)""",
        "its function returned, as trial.is_stopping() had told it to",
    ),
    "handles the signal itself": (
        """def leave(*_):
        raise SystemExit(143)
    signal.signal(signal.SIGTERM, leave)
    is_first("running")
    time.sleep(600)""",
        "stopped, which its code ended by SystemExit: 143",
    ),
}


@pytest.mark.parametrize(("body", "cause"), LEAVING.values(), ids=LEAVING)
def test_a_function_that_leaves_its_epoch_when_it_is_told_to_stop_is_put_back(
    tmp_path: Path, begun: Begun, body: str, cause: str
) -> None:
    pool = begun(begin_function(tmp_path, body))
    pool.look_until((tmp_path / "running").exists)
    pool.workers.drain(lambda: False)
    assert pool.states() == {"waiting": 1}
    last = read_events(pool.study.paths.events(0))[0][-1]
    assert isinstance(last, Interrupted)
    assert last.cause == cause


def test_who_does_not_want_to_wait_for_a_drain_kills(tmp_path: Path, begun: Begun) -> None:
    pool = begun(begin_function(tmp_path, HANG_FIRST))
    pool.look_until((tmp_path / "running").exists)
    pool.workers.drain(lambda: True)
    assert pool.workers.is_empty
    assert pool.states() == {"running": 1}, "its agent puts it back when it leaves"
    assert pool.notes == []


def test_a_batch_that_does_not_end_is_not_waited_for_for_ever(
    tmp_path: Path, begun: Begun
) -> None:
    pool = begun(begin_function(tmp_path, HANG_FIRST))
    pool.look_until((tmp_path / "running").exists)

    def pass_time() -> bool:
        pool.now_s += DRAIN_S / 2
        return False

    pool.workers.drain(pass_time)
    assert pool.workers.is_empty
    assert pool.notes == [
        "some batch did not end in 20s; its worker is killed, and the trial goes on from its last "
        "checkpoint later"
    ]


def test_a_worker_that_disk_or_storage_failed_leaves_its_place_vacant_for_a_while(
    tmp_path: Path, begun: Begun
) -> None:
    study = begin_function(tmp_path)
    study.paths.presence_dir.write_text("a file where a folder must be")
    pool = begun(study)
    with pytest.raises(StoreError, match="alive"):
        pool.look_to_the_end()
    study.paths.presence_dir.unlink()
    for pool.now_s in (0.0, 0.9):
        pool.workers.look()
        assert pool.workers.devices == []
        assert not pool.workers.is_empty
    pool.now_s = 1.1
    pool.workers.look()
    assert pool.workers.devices == ["cpu"]
    pool.look_to_the_end()
    assert pool.states() == {"complete": 1}
    assert pool.notes == [], "the agent says it, once for all its workers"


def test_a_vacant_place_is_not_filled_once_the_goal_is_reached(
    tmp_path: Path, begun: Begun
) -> None:
    study = begin_function(tmp_path, run={"workers": 1, "device": "cpu"})
    study.paths.presence_dir.write_text("a file where a folder must be")
    pool = begun(study)
    with pytest.raises(StoreError):
        pool.look_to_the_end()
    study.paths.presence_dir.unlink()
    other = begun(study)
    other.look_to_the_end()
    pool.now_s = 1.1
    pool.workers.look()
    assert pool.workers.is_empty


def test_a_trial_that_takes_too_long_fails_with_where_it_hangs(
    tmp_path: Path, begun: Begun
) -> None:
    budget = {"trials": 1, "trial_timeout": "30s"}
    pool = begun(begin_function(tmp_path, HANG_FIRST, budget=budget))
    pool.look_until((tmp_path / "running").exists)
    pool.workers.look()  # from now on the trial's time counts
    pool.now_s = 29.0
    pool.workers.look()
    assert pool.states() == {"running": 1}
    pool.now_s = 31.0
    pool.look_to_the_end()
    assert pool.states() == {"failed": 1, "complete": 1}
    [failure] = Result(pool.study).failures
    assert (failure.cause, failure.kind) == (
        "trial timeout: not at its end after 30s (budget.trial_timeout)",
        "trial_timeout",
    )
    assert "in run" in failure.details
    [note] = pool.notes
    assert note.startswith(f"{failure.cause}; another worker takes its place; log: ")


def test_trials_that_take_too_long_do_not_give_lanes_up(
    tmp_path: Path, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = LanePlan(is_captured=True)
    monkeypatch.setattr(
        "sweeper.workers.pool.place_workers",
        lambda spec: [replace(each, lanes=plan) for each in place_workers(spec)],
    )
    budget = {"trials": 1, "trial_timeout": "30s"}
    hang_twice = HANG_FIRST.replace('is_first("running")', 'is_first("a") or is_first("b")')
    pool = begun(begin_function(tmp_path, hang_twice, budget=budget, run=AUTO))
    for name in ("a", "b"):
        pool.look_until((tmp_path / name).exists)
        pool.workers.look()  # from now on the trial's time counts
        pool.now_s += 31.0
        pool.workers.look()
    pool.look_to_the_end()
    assert pool.states() == {"failed": 2, "complete": 1}
    assert all(note.startswith("trial timeout: ") for note in pool.notes)


def test_killed_workers_are_gone_at_once(tmp_path: Path, begun: Begun) -> None:
    body = f'(FOLDER / "pid").write_text(str(os.getpid()))\n    {HANG_FIRST}'
    pool = begun(begin_function(tmp_path, body))
    pool.look_until((tmp_path / "running").exists)
    pool.workers.kill()
    assert pool.workers.is_empty
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIG_DFL)
