"""A trial that a program trains."""

import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config.reader import parse_study
from sweeper.config.settings import TrialConfig
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import ProgramError, TrainingError, TrialInterrupted, TrialPruned
from sweeper.paths import RunPaths
from sweeper.training.command import run_command
from sweeper.training.program import GRACE_S
from sweeper.trial import EpochMetrics
from sweeper.workers.protocol import DRAIN_S
from tests.support.recorder import Recorder
from tests.support.user_trials import user_trial

#: Prints what it is given, and one epoch.
TELL = """
import json, os, sys
own = {name: value for name, value in os.environ.items() if name.startswith("SWEEPER_")}
print(json.dumps({"argv": sys.argv[1:], "env": own, "cwd": os.getcwd()}))
print(json.dumps({"epoch": 1, "loss": 0.5}))
"""
#: An epoch for each argument.
EPOCHS = """
import json, sys
for epoch, loss in enumerate(sys.argv[1:], 1):
    print(json.dumps({"epoch": epoch, "loss": float(loss)}))
"""


class StoppedRecorder(Recorder):
    """A reporter that stops the process after the first report, or when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = threading.Event()

    def is_stopping(self) -> bool:
        return len(self.history) > 0 or self.told.is_set()

    def report(self, metrics: EpochMetrics) -> None:
        super().report(metrics)
        if metrics.epoch != self.n_epochs:
            raise TrialInterrupted("stopped")


def command_study(code: str, *words: str, **train: Any) -> tuple[StudySpec, TrialConfig]:
    """A program of Python's, and the first value of each range."""
    study = {
        "name": "small",
        "objective": {"metric": "loss", "direction": "minimize"},
        "train": {"command": [sys.executable, "-I", "-S", "-u", "-c", code, *words], **train},
    }
    spec = parse_study(yaml.safe_dump(study, sort_keys=False), Path("small.yaml"))
    return spec, suggest_config(spec, first_value, seed=0)


def run(
    folder: Path,
    code: str,
    *words: str,
    reporter: Recorder | None = None,
    **train: Any,
) -> Recorder:
    """Run it in a trial; who followed it."""
    reporter = Recorder() if reporter is None else reporter
    spec, config = command_study(code, *words, **train)
    run_command(spec, config, user_trial(folder, reporter, spec.objective, note=print))
    return reporter


def values(reporter: Recorder) -> list[tuple[int, float]]:
    return [(metrics.epoch, metrics.values["loss"]) for metrics in reporter.history]


def test_a_program_is_given_its_trial(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--lr=${train.lr}", "${trial.seed}", "${trial.number}", "${trial.device}"]
    run(tmp_path, TELL, *words, "${trial.checkpoint}", lr={"low": 0.25, "high": 0.5},
        x={"choices": [3]}, args="auto")  # fmt: skip
    told = json.loads(capfd.readouterr().out.splitlines()[0])
    checkpoint = str(tmp_path / "studies/small/trials/0004/checkpoint")
    assert told["argv"] == ["--lr=0.25", "5", "4", "cpu", checkpoint, "--x", "3"]
    assert told["env"] == {
        "SWEEPER_CHECKPOINT": checkpoint,
        "SWEEPER_DEVICE": "cpu",
        "SWEEPER_SEED": "5",
        "SWEEPER_STUDY": "small",
        "SWEEPER_TRIAL": "4",
    }
    assert told["cwd"] == str(tmp_path)
    assert Path(checkpoint).is_dir()


def test_its_python_is_that_of_the_active_environment_or_else_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    own = os.path.dirname(sys.executable)
    code = "import os; print(os.environ['PATH']); print('{\"epoch\": 1, \"loss\": 1}')"
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for active, path, expected in [
        (None, "/bin", f"{own}:/bin"),
        (None, f"/bin:{own}", f"/bin:{own}"),
        ("VIRTUAL_ENV", "/bin", "/bin"),
    ]:
        monkeypatch.setenv("PATH", path)
        if active:
            monkeypatch.setenv(active, "/somewhere")
        run(tmp_path, code)
        assert capfd.readouterr().out.splitlines()[0] == expected


def test_json_lines_are_reports(tmp_path: Path) -> None:
    assert values(run(tmp_path, EPOCHS, "0.5", "0.25")) == [(1, 0.5), (2, 0.25)]


def test_words_are_reports(tmp_path: Path) -> None:
    code = "for e in range(3): print(f'Epoch {e + 1}/3'); print(f'loss={1 / (e + 1):.2f}')"
    report = {"loss": "loss=([0-9.]+)", "epoch": r"Epoch (\d+)"}
    assert values(run(tmp_path, code, report=report)) == [(1, 1.0), (2, 0.5), (3, 0.33)]


def test_a_file_is_followed(tmp_path: Path) -> None:
    code = """
import sys, time
print('{"epoch": 7, "loss": 7}')
with open(sys.argv[1], "w") as file:
    for row in ["epoch,loss", "1,0.5", "2,0.25"]:
        file.write(row + "\\n")
        file.flush()
    file.write("3,0.125")
"""
    path = "${trial.checkpoint}/m.csv"
    found = values(run(tmp_path, code, path, metrics=path))
    assert found == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_a_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    code = """
import sys, time
with open(sys.argv[1], "w") as file:
    for epoch in range(1, 1000):
        file.write('{"epoch": %d, "loss": 1}\\n' % epoch)
        file.flush()
        time.sleep(0.05)
"""
    path = "${trial.checkpoint}/m.jsonl"
    with pytest.raises(TrialPruned):
        run(tmp_path, code, path, metrics=path, reporter=Recorder(stop_after=2))


@pytest.mark.parametrize(
    ("code", "train", "said"),
    [
        ("", {}, "no line of its output is a JSON object such as"),
        ('print(\'{"epoch": 1, "los": 1}\')', {},
         "of epoch 1 it told los, and not the objective's loss"),
        ("print('loss 1')", {"report": {"loss": "loss=(.*)"}},
         "no line of its output matches train.report.loss"),
        ("", {"metrics": "${trial.checkpoint}/m.csv"}, "it wrote no .*checkpoint/m.csv"),
    ],
)  # fmt: skip
def test_a_program_without_a_report_is_refused(
    tmp_path: Path, code: str, train: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=f"ended without a report: {said}"):
        run(tmp_path, code, **train)


def test_a_program_that_fails_says_so_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ProgramError) as caught:
        run(tmp_path, EPOCHS, "0.5", "low")
    name = sys.executable
    assert str(caught.value) == (
        f"train.command: {name} ended with exit code 1: ValueError: could not convert string to "
        "float: 'low'"
    )
    assert caught.value.output.splitlines()[:2] == [
        '{"epoch": 1, "loss": 0.5}',
        "Traceback (most recent call last):",
    ]
    assert not caught.value.is_killed


def test_a_program_that_a_signal_ends_was_killed(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="was ended by SIGKILL") as caught:
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert caught.value.is_killed


def test_a_pruned_program_is_told_and_ended(tmp_path: Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], "w").close(), sys.exit(3)))
for epoch in range(1, 1000):
    print('{"epoch": %d, "loss": 1}' % epoch)
    time.sleep(0.05)
"""
    reporter = Recorder(stop_after=2)
    with pytest.raises(TrialPruned):
        run(tmp_path, code, f"{tmp_path}/told", reporter=reporter)
    assert len(reporter.history) == 2
    assert (tmp_path / "told").exists()


#: Prints an epoch, then another one when it is told to end.
GRACEFUL = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('{"epoch": 1, "loss": 1}')
signal.sigwait([signal.SIGTERM])
print('{"epoch": 2, "loss": 2}')
"""


@pytest.mark.parametrize("n_epochs", [None, 3])
def test_a_program_that_is_told_to_stop_is_put_back_with_what_it_told_until_its_end(
    tmp_path: Path, n_epochs: int | None
) -> None:
    reporter = StoppedRecorder()
    reporter.n_epochs = n_epochs
    with pytest.raises(TrialInterrupted, match="stopped, and its program has ended"):
        run(tmp_path, GRACEFUL, reporter=reporter)
    assert values(reporter) == [(1, 1.0), (2, 2.0)]


def test_one_that_tells_its_last_epoch_before_it_ends_is_complete(tmp_path: Path) -> None:
    reporter = StoppedRecorder()
    reporter.n_epochs = 2
    run(tmp_path, GRACEFUL, reporter=reporter)
    assert values(reporter) == [(1, 1.0), (2, 2.0)]


def test_a_scheduler_may_end_the_program_before_we_hear_of_it(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    reporter = StoppedRecorder()
    threading.Timer(0.2, reporter.told.set).start()
    with pytest.raises(TrialInterrupted):
        run(tmp_path, code, reporter=reporter)


def test_a_program_has_less_time_to_end_than_its_worker() -> None:
    assert 2 * GRACE_S <= DRAIN_S


RESUME = ["--resume", "${trial.checkpoint}/last.pt"]


def test_words_to_go_on_come_once_there_is_what_they_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def argv(resume: str | Sequence[str]) -> list[str]:
        run(tmp_path, TELL, resume=resume)
        given: list[str] = json.loads(capfd.readouterr().out.splitlines()[0])["argv"]
        return given

    folder = tmp_path / "studies/small/trials/0004/checkpoint"
    assert argv(RESUME) == argv("--resume") == []
    (folder / "other.pt").touch()
    assert argv(RESUME) == []
    assert argv("--resume") == ["--resume"]
    (folder / "last.pt").touch()
    assert argv("--resume=${trial.checkpoint}/last.pt") == [f"--resume={folder}/last.pt"]
    assert argv(RESUME) == ["--resume", f"{folder}/last.pt"]


def test_what_was_printed_and_not_read_is_reported_by_the_next_process(tmp_path: Path) -> None:
    reporter = Recorder()
    folder = RunPaths(tmp_path, "small").printed(4)
    folder.mkdir(parents=True)
    (folder / "stdout").write_text('{"epoch": 1, "loss": 1}\n{"epoch": 2, "loss": 2}\n{"epoch": 3')
    code = """print('{"epoch": 3, "loss": 3}')"""
    run(tmp_path, code, reporter=reporter)
    assert values(reporter) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert not folder.exists()
