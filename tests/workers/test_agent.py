"""An agent from its start to its end, with real workers; only what it shows is looked at here."""

import itertools
import math
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import ExitCode, StudyError
from sweeper.locks import locality
from sweeper.study.create import load_study_from_storage
from sweeper.study.failures import failed_numbers
from sweeper.study.leases import RENEWAL_S, Leases
from sweeper.study.presence import Presence, is_present
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.study.trial_cache import Standing
from sweeper.tracking.completion import Completion
from sweeper.workers import agent
from sweeper.workers.agent import Agent
from sweeper.workers.forkserver import ForkServer
from tests.support.function_studies import (
    GO_ON,
    HANG_FIRST,
    MEASURE,
    agent_args,
    begin_function,
)
from tests.support.sweep import wait_until
from tests.support.sweep_studies import AGENT, reports, run_trial

pytestmark = pytest.mark.gate  # agents with workers, which mostly wait for each other

VAL_ACCURACY = {"metric": "val_accuracy", "direction": "maximize"}
TWO_WORKERS = {"workers": 2, "device": "cpu"}
DRAINING = "running trials finish their batch and wait for the next command"


#: What is said on a machine that is too busy to tell MLflow everything at once.
SENDING = "sending the rest to MLflow; Ctrl-C leaves it to the next command ..."


class Shown:
    """A display that keeps what it was given, but for :data:`SENDING`."""

    def __init__(self) -> None:
        self.finished: list[int] = []
        self.notes: list[str] = []
        self.told: list[str] = []

    def show(self, standing: Standing, epochs: Mapping[int, float]) -> None:
        self.finished.append(standing.n_finished)

    def note(self, text: str) -> None:
        if text != SENDING:
            self.notes.append(text)

    def summary(self, result: Result) -> None:
        has_all = result.paths.mirrored.exists()
        self.told.append(f"{result.n_finished} finished{', all is in MLflow' * has_all}")

    def next_steps(
        self, result: Result, completion: Completion | None, *, has_everything: bool
    ) -> None:
        self.told.append(f"MLflow has all: {completion is not None}, {has_everything}")


@pytest.fixture
def shown() -> Shown:
    return Shown()


Run = Callable[[SweepStudy], Result]


@pytest.fixture
def run(server: ForkServer, shown: Shown) -> Run:
    def run(study: SweepStudy) -> Result:
        args = agent_args(study, failed_before=failed_numbers(study.records()))
        return Agent(study, args, server, shown).run()

    return run


def states(study: SweepStudy) -> dict[str, int]:
    return {state.value: n for state, n in study.counts().items()}


def once_it_runs(folder: Path, act: Callable[[], object]) -> None:
    """Do that beside the agent, once a trial runs."""

    def wait_and_act() -> None:
        wait_until((folder / "running").exists)
        act()

    threading.Thread(target=wait_and_act, daemon=True).start()


def seen_elsewhere(study: SweepStudy) -> SweepStudy:
    """The study as another command opens it."""
    other = load_study_from_storage(study.spec, study.paths)
    assert other is not None
    return other


def test_it_works_until_the_goal_is_reached_and_shows_that_before_it_waits_for_mlflow(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path, trials=3)
    result = run(study)
    assert result.exit_code == ExitCode.GOAL_REACHED
    assert states(study) == {"complete": 3}
    assert shown.finished[-1] == 3
    assert shown.finished == sorted(shown.finished)
    assert shown.told == ["3 finished", "MLflow has all: True, True"]
    assert shown.notes == []


def test_it_ends_with_its_last_worker_however_long_it_would_rest_between_looks(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_SHARE", 1e-300)
    monkeypatch.setattr(agent, "_MOST_PAUSE_S", math.inf)
    study = begin_function(tmp_path, trials=3, run=TWO_WORKERS)
    assert run(study).exit_code == ExitCode.GOAL_REACHED


def test_in_a_thread_which_no_signal_reaches_it_says_how_to_stop_it(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path)
    thread = threading.Thread(target=run, args=(study,))
    thread.start()
    thread.join()
    assert states(study) == {"complete": 1}
    assert shown.notes == [
        "signals do not reach a thread, so Ctrl-C does not stop this; `sweeper cancel "
        f"{study.spec.path}` does"
    ]


@pytest.mark.parametrize(
    ("body", "states_then"),
    [
        ('trial.report(1, score=float("nan"))', {"diverged": 2}),
        ('import optuna\n    raise optuna.TrialPruned("hopeless")', {"pruned": 2}),
    ],
)
def test_a_goal_without_one_complete_trial_is_no_success(
    tmp_path: Path, run: Run, body: str, states_then: dict[str, int]
) -> None:
    study = begin_function(tmp_path, body, trials=2)
    assert run(study).exit_code == ExitCode.FAILURE
    assert states(study) == states_then


def test_it_leaves_nothing_behind(tmp_path: Path, run: Run) -> None:
    study = begin_function(tmp_path)
    run(study)
    assert study.agents() == []
    assert not is_present(study.paths.presence_dir, AGENT)
    assert study.leases.is_over(AGENT)


def test_at_the_goal_it_starts_no_worker(tmp_path: Path, run: Run, shown: Shown) -> None:
    study = begin_function(tmp_path)
    run(study)
    study.paths.resolved_spec.write_text("of this a worker dies")
    assert run(study).exit_code == ExitCode.GOAL_REACHED
    assert shown.notes == []


def test_while_it_works_others_see_who_it_is(tmp_path: Path, run: Run) -> None:
    study = begin_function(tmp_path, GO_ON)
    seen: list[tuple[str, int, Sequence[str]]] = []

    def look() -> None:
        other = seen_elsewhere(study)
        wait_until(other.agents)
        seen.extend((a.name, a.info.pid, a.info.devices) for a in other.agents())
        other.leases.tell_to_stop(AGENT)

    once_it_runs(tmp_path, look)
    run(study)
    assert seen == [(AGENT, os.getpid(), ["cpu"])]


def test_as_long_as_it_works_its_lease_is_renewed(tmp_path: Path, run: Run) -> None:
    study = begin_function(tmp_path, GO_ON)
    seconds = itertools.count(0, int(RENEWAL_S))  # so that it is always time to
    place = locality(study.paths.study_dir)
    study.leases = Leases(study.attributes, place, now=lambda: next(seconds))
    renewals: list[float] = []

    def look() -> None:
        try:
            leases = seen_elsewhere(study).leases
            renewals.append(leases.held()[0].renewed_s)
            wait_until(lambda: leases.held()[0].renewed_s > renewals[0])
            renewals.append(leases.held()[0].renewed_s)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    once_it_runs(tmp_path, look)
    run(study)
    assert len(renewals) == 2


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.STOPPED),
        (signal.SIGUSR1, ExitCode.STOPPED),
    ],
)
def test_a_signal_drains(
    tmp_path: Path, run: Run, shown: Shown, number: int, code: ExitCode
) -> None:
    study = begin_function(tmp_path, GO_ON)
    once_it_runs(tmp_path, lambda: os.kill(os.getpid(), number))
    assert run(study).exit_code == code
    assert shown.notes == [f"stopping: {DRAINING}; once more stops at once"]
    assert states(study) == {"waiting": 1}
    assert shown.told[0] == "0 finished"
    assert shown.told[1].startswith("MLflow has all: False, ")  # sent, if the machine is fast


def test_a_second_signal_stops_at_once_and_the_trial_is_given_back(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path, HANG_FIRST)

    def signal_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: shown.notes)
        os.kill(os.getpid(), signal.SIGINT)

    once_it_runs(tmp_path, signal_twice)
    assert run(study).exit_code == ExitCode.INTERRUPTED
    assert states(study) == {"waiting": 1}


@pytest.mark.parametrize(("n_done", "said"), [(2, []), (1, ["stopping: no trial runs here"])])
def test_a_signal_while_no_trial_runs_speaks_of_none(
    tmp_path: Path, server: ForkServer, shown: Shown, n_done: int, said: list[str]
) -> None:
    study = begin_function(tmp_path, trials=2, objective=VAL_ACCURACY)
    for _ in range(n_done):
        run_trial(study, reports(0.5))
    study.leases.renew("another")
    assert study.queue.claim("another", "its-worker", n=1) == [] or n_done < 2
    Agent(study, agent_args(study), server, shown)._drain("stopping")
    assert shown.notes == said


def test_cancel_drains(tmp_path: Path, run: Run, shown: Shown) -> None:
    study = begin_function(tmp_path, GO_ON)
    once_it_runs(tmp_path, lambda: seen_elsewhere(study).leases.tell_to_stop(AGENT))
    assert run(study).exit_code == ExitCode.STOPPED
    assert shown.notes == [f"`sweeper cancel` asks this command to stop: {DRAINING}"]
    assert states(study) == {"waiting": 1}


def test_the_time_that_the_file_gives_may_be_over(tmp_path: Path, run: Run, shown: Shown) -> None:
    budget: dict[str, Any] = {"trials": 1, "timeout": "2s"}
    study = begin_function(tmp_path, GO_ON, budget=budget)
    assert run(study).exit_code == ExitCode.STOPPED
    assert shown.notes == [f"budget.timeout is over: {DRAINING}"]
    assert states(study) == {"waiting": 1}


def test_an_agent_that_others_have_given_up_stops_and_touches_nothing(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path, HANG_FIRST)
    once_it_runs(tmp_path, lambda: seen_elsewhere(study).leases.declare_over(AGENT))
    assert run(study).exit_code == ExitCode.STOPPED
    assert shown.notes == [
        "this command was silent for so long that others took over its trials; it stops and "
        "leaves the rest to them"
    ]
    assert states(study) == {"running": 1}
    assert shown.told == []


def test_trials_that_a_dead_agent_left_are_gone_on_with_first(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path, trials=2)
    seen_elsewhere(study).leases.renew("dead")
    assert study.queue.claim("dead", "its-worker", n=1)
    run(study)
    assert states(study) == {"complete": 2}
    by_end = sorted(study.trials(), key=lambda trial: str(trial.datetime_complete))
    assert [trial.number for trial in by_end] == [0, 1]


def test_a_trial_that_another_agent_leaves_meanwhile_is_gone_on_with(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_ORPHANS_EVERY_S", 0.1)
    study = begin_function(tmp_path, f'is_first("running")\n    {MEASURE}', trials=2)
    seen_elsewhere(study).leases.renew("other")
    other = Presence(study.paths.presence_dir, "its-worker")
    assert study.queue.claim("other", "its-worker", n=1)

    def die() -> None:
        other.leave()
        seen = seen_elsewhere(study)
        try:
            wait_until(lambda: seen.n_finished() == 2)
        except AssertionError:
            os.kill(os.getpid(), signal.SIGINT)  # else it waits for that trial for ever

    once_it_runs(tmp_path, die)
    run(study)
    assert states(study) == {"complete": 2}


def test_trial_after_trial_that_fails_of_one_cause_is_an_error_with_its_details(
    tmp_path: Path, run: Run, shown: Shown
) -> None:
    study = begin_function(tmp_path, 'raise ValueError(f"no luck in {trial.number}")', trials=40)
    with pytest.raises(StudyError) as caught:
        run(study)
    first, *details = str(caught.value).splitlines()
    assert first == (
        "stopped: trial after trial failed, the latest of ValueError: no luck in 9; see to that, "
        "and the same command goes on"
    )
    assert details[-1] == "ValueError: no luck in 9"
    assert states(study)["failed"] == 10
    assert shown.told == []


def test_failures_of_earlier_commands_do_not_count(tmp_path: Path, run: Run) -> None:
    body = f"""if trial.number < 12:
        raise ValueError("no luck")
    {MEASURE}"""
    study = begin_function(tmp_path, body)
    with pytest.raises(StudyError, match="the latest of ValueError: no luck"):
        run(study)
    assert run(study).exit_code == ExitCode.GOAL_REACHED
    assert states(study) == {"failed": 12, "complete": 1}


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_study_ends_when_all_settings_were_tried_and_says_so(
    tmp_path: Path, run: Run, shown: Shown, sampler: str
) -> None:
    study = begin_function(
        tmp_path, trials=5, x=[0.0, 1.0], sampler={"name": sampler}, run=TWO_WORKERS
    )
    assert run(study).exit_code == ExitCode.GOAL_REACHED
    assert states(study) == {"complete": 2}
    assert {trial.params["train.x"] for trial in study.trials()} == {0.0, 1.0}
    assert shown.notes == [
        "the space has 2 settings, so the goal is not 5 trials; "
        "`sampler: {duplicates: reseed}` tries settings again, with other seeds"
    ]


def test_the_last_setting_left_is_tried_until_it_works_or_trial_after_trial_failed(
    tmp_path: Path, run: Run
) -> None:
    body = f"""if params["train"]["x"] == 1.0 and not FOLDER.joinpath("luck").exists():
        raise ValueError("no luck")
    {MEASURE}"""
    study = begin_function(tmp_path, body, trials=5, x=[0.0, 1.0], run=TWO_WORKERS)
    with pytest.raises(StudyError, match="the latest of ValueError: no luck"):
        run(study)
    assert states(study)["complete"] == 1
    (tmp_path / "luck").touch()
    assert run(study).exit_code == ExitCode.GOAL_REACHED
    assert states(study)["complete"] == 2
