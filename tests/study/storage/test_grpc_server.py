"""``sweeper proxy`` on a real database: its locks, its restarts."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import psycopg
import pytest
from postgres_server import Postgres, Proxy, proxied

from sweeper.errors import StoreError, StudyError
from sweeper.locks import Lock
from sweeper.outage import BEAR_S
from sweeper.paths import RunPaths
from sweeper.study.create import create_study, load_study_from_storage
from sweeper.study.storage.advisory_locks import advisory_locks
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.grpc_client import ProxyLock, open_channel
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.forks import FORKS
from tests.support.sweep_studies import (
    begin,
    claim_trial,
    reports,
    run_claimed,
    run_trial,
    spec_of,
)

pytestmark = pytest.mark.postgres
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


def lock_of(url: str, name: str = "a lock") -> Lock:
    return ProxyLock(open_channel(url), name)


def hold(url: str, pipe: Any) -> None:
    """Hold the lock until killed; tell when it is held."""
    with lock_of(url).held():
        pipe.send("held")
        time.sleep(600)


@contextmanager
def holder(url: str) -> Iterator[BaseProcess]:
    """Another process, which holds the lock."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=hold, args=(url, theirs))
    process.start()
    assert ours.recv() == "held"
    try:
        yield process
    finally:
        process.kill()
        process.join()


@pytest.fixture
def own_proxy(postgres_url: str) -> Iterator[Proxy]:
    """One that a test may kill."""
    with proxied(postgres_url) as proxy:
        yield proxy


def test_a_lock_is_one_processs_and_free_when_that_is_killed(proxy_url: str) -> None:
    with holder(proxy_url):
        with lock_of(proxy_url).tried() as is_held:
            assert not is_held
        with lock_of(proxy_url, "another").tried() as is_held:
            assert is_held
    with lock_of(proxy_url).held(), lock_of(proxy_url).tried() as is_held:
        assert not is_held


def test_it_is_the_lock_of_those_who_use_the_database_itself(
    proxy_url: str, postgres_url: str
) -> None:
    ours, direct = lock_of(proxy_url), advisory_locks(postgres_url)("a lock")
    with ours.held(), direct.tried() as is_held:
        assert not is_held
    with direct.held(), ours.tried() as is_held:
        assert not is_held

    def take() -> None:
        with ours.held():
            pass

    waiting = Thread(target=take)
    with direct.held():
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


def test_a_lock_that_the_proxys_death_gave_away_is_not_taken_for_held(own_proxy: Proxy) -> None:
    def hold_while_it_dies() -> None:
        with store_errors(), lock_of(own_proxy.url).held():
            own_proxy.kill()
            own_proxy.restart()

    with pytest.raises(StoreError, match="the connection to the proxy broke, and with it a lock"):
        hold_while_it_dies()


def until_it_is_back(study: SweepStudy) -> None:
    """Ask for as long as a command bears an outage; it is not asked anew at each moment."""
    deadline_s = time.monotonic() + BEAR_S
    while time.monotonic() < deadline_s:
        try:
            study.counts()
            return
        except grpc.RpcError:
            time.sleep(0.1)
    pytest.fail("no proxy answers")


@pytest.mark.gate
def test_a_study_goes_on_after_the_proxy_was_killed(own_proxy: Proxy, tmp_path: Path) -> None:
    study = begin(tmp_path, name="killed_proxy", storage=own_proxy.url)
    run_trial(study, reports(0.5))
    own_proxy.kill()
    with pytest.raises(StoreError, match="UNAVAILABLE: "), store_errors():
        study.counts()
    own_proxy.restart()
    until_it_is_back(study)
    run_trial(study, reports(0.7))
    assert study.counts()[TrialState.COMPLETE] == 2


def test_a_trial_that_was_claimed_before_the_proxy_was_killed_goes_on(
    own_proxy: Proxy, tmp_path: Path
) -> None:
    study = begin(tmp_path, name="claimed_before", storage=own_proxy.url)
    trial = claim_trial(study)
    assert trial is not None
    own_proxy.kill()
    own_proxy.restart()
    time.sleep(3)  # until it is asked again, and not for the trials
    assert run_claimed(study, trial, reports(0.5)) == TrialState.COMPLETE


def test_holders_are_told_when_the_database_restarts(postgres: Postgres, proxy_url: str) -> None:
    def hold_while_it_restarts() -> None:
        with store_errors(), lock_of(proxy_url).held():
            postgres.crash()
            with lock_of(proxy_url, "another").held():  # so that the proxy looks
                pass

    with pytest.raises(StoreError, match="the connection to the proxy broke, and with it a lock"):
        hold_while_it_restarts()
    with lock_of(proxy_url).held(), lock_of(proxy_url).tried() as is_held:
        assert not is_held


@pytest.mark.slow
def test_a_process_that_was_stopped_loses_its_lock(proxy_url: str) -> None:
    with holder(proxy_url) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        with lock_of(proxy_url).held():
            pass


def test_a_study_behind_it_takes_no_connection(
    proxy_url: str, postgres_url: str, tmp_path: Path
) -> None:
    def n_connections() -> int:
        with psycopg.connect(postgres_url) as connection:
            row = connection.execute(COUNT).fetchone()
        assert row is not None
        return int(row[0])

    first = begin(tmp_path, name="many", storage=proxy_url)
    before = n_connections()
    studies = [begin(tmp_path, name="many", storage=proxy_url) for _ in range(20)]
    with first.lock.held():
        assert [study.n_finished() for study in studies] == [0] * 20
        assert n_connections() <= before


def test_a_proxy_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = spec_of(tmp_path, storage=f"grpc://127.0.0.1:{port}")
    place = r"small.yaml:\d+: storage: cannot open the study's storage \(UNAVAILABLE: .*"
    with pytest.raises(StudyError, match=place + "check that `sweeper proxy` runs"):
        create_study(spec, RunPaths(tmp_path / "mlruns", spec.name))


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sweeper.study.storage.grpc_client")
    monkeypatch.setitem(sys.modules, "grpc", None)
    spec = spec_of(tmp_path, storage="grpc://127.0.0.1:1")
    with pytest.raises(StudyError, match="storage: cannot open .*ModuleNotFoundError.*grpc"):
        load_study_from_storage(spec, RunPaths(tmp_path / "mlruns", spec.name))
