"""sweeper.workers.exporter: real processes that export, fail, are killed and end."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.config.settings import ModelConfig
from sweeper.errors import RequestRefusedError
from sweeper.models.build import build_for
from sweeper.tracking.exporting import (
    ExportError,
    ExportKilledError,
    ExportTask,
    UnreadableError,
)
from sweeper.workers.exporter import ExporterProcess
from sweeper.workers.forkserver import ForkServer
from tests.support.processes import processes_in
from tests.support.sweep import wait_until
from tests.support.tracked_study import DATA, MODEL

pytestmark = pytest.mark.gate  # its server imports torch, and each process what exports


@contextmanager
def begun(server: ForkServer, folder: Path) -> Iterator[ExporterProcess]:
    exporter = ExporterProcess(server, [str(folder)], "", folder / "exporter.log")
    with closing(exporter):
        exporter.begin()
        yield exporter


@pytest.fixture
def exporter(server: ForkServer, tmp_path: Path) -> Iterator[ExporterProcess]:
    with begun(server, tmp_path) as exporter:
        yield exporter


def task(folder: Path, *, seed: int = 0, model: ModelConfig = MODEL) -> ExportTask:
    """Of an MLP, whatever model is named."""
    torch.manual_seed(seed)
    weights = folder / f"{seed}.pt"
    torch.save(build_for(MODEL, DATA).state_dict(), weights)
    return ExportTask(model, DATA, weights, folder / "none")


#: How a builder of the user's begins.
BUILD = "def build(input_shape, n_outputs):\n"


def pid_of(exporter: ExporterProcess) -> int:
    process: Any = exporter._process
    return int(process.pid)


def test_each_program_has_the_weights_of_its_trial_and_says_what_it_takes(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    tasks = [task(tmp_path, seed=seed) for seed in (0, 1)]
    exporter.prepare(tasks[0])
    exporter.prepare(tasks[0])
    images = torch.rand(5, *DATA.input_shape)
    for number, each in enumerate(tasks):
        file = tmp_path / f"{number}.pt2"
        exported = exporter.export(each, file)
        [taken], [answered] = exported.form.inputs, exported.form.outputs
        assert (taken.dtype, taken.shape) == ("float32", DATA.input_shape)
        assert (answered.dtype, answered.shape) == ("float32", (DATA.n_outputs,))
        assert (exported.form.rows, exported.bare) == (None, "")
        net = build_for(MODEL, DATA).eval()
        net.load_state_dict(torch.load(each.weights))
        with torch.no_grad():
            expected = net((images - 0.3) / 0.4)
            found = torch.export.load(file).module()(images)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_read_or_exported_is_told_apart_and_costs_the_next_one_nothing(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    (tmp_path / "gives_up.py").write_text(
        "def build(input_shape, n_outputs):\n    raise SystemExit('mine')\n"
    )
    garbage = tmp_path / "garbage.pt"
    garbage.write_bytes(b"nothing of torch")
    with pytest.raises(UnreadableError):
        exporter.check(garbage)
    with pytest.raises(UnreadableError):
        exporter.export(replace(task(tmp_path), weights=garbage), tmp_path / "none.pt2")
    own = ModelConfig(architecture="gives_up:build", params={})
    with pytest.raises(ExportError, match="SystemExit: mine"):
        exporter.export(task(tmp_path, model=own), tmp_path / "none.pt2")
    exporter.check(task(tmp_path).weights)
    assert exporter.export(task(tmp_path), tmp_path / "one.pt2").form.inputs


def test_trouble_with_the_disk_is_no_fault_of_the_model(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"none/one\.pt2"):
        exporter.export(task(tmp_path), tmp_path / "none" / "one.pt2")
    with pytest.raises(FileNotFoundError, match="away"):
        exporter.check(tmp_path / "away")
    assert exporter.export(task(tmp_path), tmp_path / "one.pt2").form.inputs


def test_one_that_was_killed_is_begun_anew(exporter: ExporterProcess, tmp_path: Path) -> None:
    exporter.check(task(tmp_path).weights)
    before = pid_of(exporter)
    os.kill(before, signal.SIGKILL)
    assert exporter.export(task(tmp_path), tmp_path / "one.pt2").form.inputs
    assert pid_of(exporter) != before


def test_a_model_that_it_dies_of_is_told_as_one_that_cannot_be_exported(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    (tmp_path / "kills.py").write_text(
        f"import os\n{BUILD}    print('last words', flush=True)\n    os._exit(3)\n"
    )
    own = ModelConfig(architecture="kills:build", params={})
    with pytest.raises(ExportError, match=r"died of it, exit code 3; log: .*exporter\.log"):
        exporter.export(task(tmp_path, model=own), tmp_path / "none.pt2")
    assert (tmp_path / "exporter.log").read_text() == "last words\n" * 2
    assert exporter.export(task(tmp_path), tmp_path / "one.pt2").form.inputs


def test_how_it_died_is_told_and_of_a_crash_its_log_shows_where(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    log = tmp_path / "exporter.log"
    (tmp_path / "dies.py").write_text(
        f"import ctypes, os\n{BUILD}    os.kill(os.getpid(), 9)\n"
        "def crash(input_shape, n_outputs):\n    ctypes.string_at(0)\n"
    )
    killed, crashed = (
        task(tmp_path, model=ModelConfig(architecture=f"dies:{name}", params={}))
        for name in ("build", "crash")
    )
    with pytest.raises(ExportKilledError, match="killed by SIGKILL, .* where memory ends$"):
        exporter.export(killed, tmp_path / "none.pt2")
    assert not log.exists()
    with pytest.raises(ExportError, match="killed by SIGSEGV; log: "):
        exporter.export(crashed, tmp_path / "none.pt2")
    assert "in crash" in log.read_text()


def test_who_waits_for_one_that_is_closed_is_told_so_and_it_is_not_begun_anew(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(
        f"import time, os\n{BUILD}    print('building', flush=True)\n    time.sleep(600)\n"
    )
    endless = task(tmp_path, model=ModelConfig(architecture="endless:build", params={}))
    log = tmp_path / "exporter.log"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(exporter.export, endless, tmp_path / "none.pt2")
        wait_until(lambda: log.exists() and log.read_text() == "building\n")
        exporter.close()
        with pytest.raises(RequestRefusedError, match="nobody waits"):
            asked.result()
    with pytest.raises(RequestRefusedError, match="nobody waits"):
        exporter.check(endless.weights)
    exporter.begin()
    assert exporter._process is None


def test_a_scheduler_that_signals_all_does_not_end_it(
    exporter: ExporterProcess, tmp_path: Path
) -> None:
    exporter.check(task(tmp_path).weights)
    before = pid_of(exporter)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(before, number)
    exporter.check(task(tmp_path).weights)
    assert pid_of(exporter) == before


@pytest.mark.parametrize("hangs", ["while True: pass", "time.sleep(600)", "return 1"])
def test_without_its_agent_it_ends_at_once_and_so_does_what_user_code_started(
    exporter: ExporterProcess, tmp_path: Path, hangs: str
) -> None:
    (tmp_path / "hangs.py").write_text(
        "import subprocess, time\n"
        f"{BUILD}    subprocess.Popen(['sleep', '600'], cwd={str(tmp_path)!r})\n    {hangs}\n"
    )
    own = ModelConfig(architecture="hangs:build", params={})
    exporter.prepare(task(tmp_path, model=own))
    wait_until(lambda: processes_in(tmp_path))
    process: Any = exporter._process
    exporter._replies.close()
    exporter._channel.close()
    wait_until(lambda: process.poll() is not None)
    wait_until(lambda: not processes_in(tmp_path))


def test_a_log_of_nothing_is_removed(server: ForkServer, tmp_path: Path) -> None:
    with begun(server, tmp_path) as exporter:
        exporter.check(task(tmp_path).weights)
        assert (tmp_path / "exporter.log").exists()
    assert not (tmp_path / "exporter.log").exists()
