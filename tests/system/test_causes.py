"""What ends a trial is told apart, retried by its rule, and shown where people look."""

import signal
from pathlib import Path

import pytest

from sweeper.events import Ended, Interrupted, Started
from sweeper.study.attributes import Attr, state_of
from sweeper.trial import FailureKind, Outcome, TrialState
from tests.support.sweep import Sweep, kill_group, wait_until

pytestmark = pytest.mark.slow

NAN, RAISING, HANGING, TOO_BIG = range(4)
N_GOOD = 3
STUDY = """
budget: {trials: 4, trial_timeout: 8s}
sampler: {name: random}
pruner: {name: none}
data: {name: "own:load", hang: {choices: [false, true]}, batch_size: 32}
model:
  architecture: "own:build"
  fault: {choices: [none, raise, too_big]}
  width: {low: 16, high: 19}
train: {epochs: 3, optimizer: sgd, learning_rate: {choices: [0.01, 1.0e+30]}}
run: {workers: 3, device: cpu}
tracking: {log_models: none}  # else what exports them builds networks, too
enqueue:
  - {data.hang: false, model.fault: none, train.learning_rate: 1.0e+30}
  - {data.hang: false, model.fault: raise, train.learning_rate: 0.01}
  - {data.hang: true, model.fault: none, train.learning_rate: 0.01}
  - {data.hang: false, model.fault: too_big, train.learning_rate: 0.01}
  - {data.hang: false, model.fault: none, train.learning_rate: 0.01, model.width: 16}
  - {data.hang: false, model.fault: none, train.learning_rate: 0.01, model.width: 17}
  - {data.hang: false, model.fault: none, train.learning_rate: 0.01, model.width: 18}
"""
HANG = "threading.Event().wait()"
#: The data hang at a row that some batch asks for. An epoch has 6 batches. What a process may have
#: beyond what it needs at its start does for everything but the model that is too big.
CODE = """
import os, resource, threading, time
from pathlib import Path
import torch
from torch import nn
from torch.utils.data import Dataset

GIB = 2**30
used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * GIB, -1))


def note(name):
    with open(name, "a") as file:
        file.write(f"{time.time()}\\n")


class Rows(Dataset):
    def __init__(self, hang):
        self.inputs = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
        self.targets = torch.arange(200) % 2
        self.hang = hang

    def __len__(self):
        return 200

    def __getitem__(self, row):
        if self.hang and row == 77:
            threading.Event().wait()
        return self.inputs[row], self.targets[row]


def load(hang):
    return Rows(hang), None


class Net(nn.Module):
    def __init__(self, n_inputs, n_outputs, fault, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_inputs, width), nn.Linear(width, n_outputs))
        self.fault, self.n_batches = fault, 0

    def forward(self, inputs):
        if self.training:
            note("batches")
            time.sleep(0.05)
            self.n_batches += 1
            if self.fault == "raise" and self.n_batches == 7:
                raise ArithmeticError("no good in epoch 2")
        return self.layers(inputs)


def build(input_shape, n_outputs, fault, width):
    if fault == "too_big":
        is_again = Path("too_big").exists()
        note("too_big")
        time.sleep(4 if is_again else 0.2)
        try:
            return nn.Linear(input_shape[0], GIB // 8)  # of 8 inputs each: 4 GiB
        finally:
            note("too_big")
    return Net(input_shape[0], n_outputs, fault, width)
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A study in which four trials go wrong, each in its own way, and the others do not."""
    sweep = Sweep(tmp_path_factory.mktemp("faulty"))
    sweep.write(STUDY)
    sweep.write_code(CODE)
    done = sweep.run()
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep.folder / "stderr").write_text(done.stderr)
    (sweep.folder / "status").write_text(sweep.run("status", "sweep.yaml").stdout)
    return sweep


def outcome(sweep: Sweep, number: int) -> Outcome:
    last = sweep.events(number)[-1]
    assert isinstance(last, Ended)
    return last.outcome


def test_the_other_trials_finish_and_both_stores_agree(faulty: Sweep) -> None:
    faulty.assert_truth(finished=N_GOOD + 1)
    assert faulty.states() == {
        NAN: "diverged",
        RAISING: "failed",
        HANGING: "failed",
        TOO_BIG: "failed",
        4: "complete",
        5: "complete",
        6: "complete",
    }


def test_a_loss_that_is_not_finite_counts_as_pruned_and_is_not_tried_again(faulty: Sweep) -> None:
    trial = faulty.study().trials()[NAN]
    assert state_of(trial) == TrialState.DIVERGED
    assert trial.state.name == "PRUNED"
    run = faulty.runs()[NAN]
    assert run.info.status == "KILLED"
    assert run.data.tags["sweeper.state"] == "diverged"
    assert run.data.tags["sweeper.cause"] == "train_loss is nan after epoch 1"
    assert "sweeper.failure" not in run.data.tags
    assert [type(event) for event in faulty.events(NAN)].count(Started) == 1


@pytest.mark.parametrize(
    ("number", "kind", "retries", "cause", "last_lines"),
    [
        (RAISING, FailureKind.EXCEPTION, 0, "ArithmeticError: no good in epoch 2", "in forward"),
        (
            HANGING,
            FailureKind.TRIAL_TIMEOUT,
            0,
            "trial timeout: not at its end after 8s (budget.trial_timeout)",
            "in __getitem__",
        ),
        (TOO_BIG, FailureKind.OUT_OF_MEMORY, 1, "RuntimeError: ", "in build"),
    ],
)
def test_a_failure_is_told_by_kind_cause_count_and_last_lines(
    faulty: Sweep, number: int, kind: FailureKind, retries: int, cause: str, last_lines: str
) -> None:
    ended = outcome(faulty, number)
    assert (ended.kind, ended.retries) == (kind, retries)
    assert ended.cause.startswith(cause)
    assert any("own.py" in line and last_lines in line for line in ended.details.splitlines())

    trial = faulty.study().trials()[number]
    assert trial.state.name == "FAIL"
    assert trial.user_attrs[Attr.FAILURE] == kind
    assert trial.user_attrs[Attr.CAUSE] == ended.cause

    run = faulty.runs()[number]
    assert run.info.status == "FAILED"
    tags = run.data.tags
    assert tags["sweeper.failure"] == kind
    assert tags["sweeper.retries"] == str(retries)
    assert tags["sweeper.cause"] == ended.cause
    assert tags["sweeper.details"] == ended.details

    status = (faulty.folder / "status").read_text()
    assert ended.cause in status
    assert all(line in status for line in ended.details.splitlines())


def test_out_of_memory_is_tried_once_more_with_the_device_to_itself(faulty: Sweep) -> None:
    kinds = [type(event) for event in faulty.events(TOO_BIG)]
    assert kinds == [Started, Interrupted, Started, Ended]
    # The time for which it waited for the trial that hung does not count against its limit: with
    # that, its second try would end by budget.trial_timeout.
    _, _, begun_alone, ended_alone = times(faulty.folder / "too_big")
    # The trial in place of the one that hung is claimed by an idle worker at about this time.
    assert times(faulty.folder / "batches")[-1] > ended_alone
    assert not any(begun_alone < t < ended_alone for t in times(faulty.folder / "batches"))


def times(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().splitlines()]


def test_a_trial_that_raises_is_not_tried_again(faulty: Sweep) -> None:
    assert [epoch.epoch for epoch in faulty.epochs(RAISING)] == [1]
    assert [type(event) for event in faulty.events(RAISING)].count(Started) == 1


def test_a_command_is_stopped_while_the_data_hang_and_its_trial_waits(sweep: Sweep) -> None:
    sweep.write(
        STUDY.partition("enqueue:")[0].replace("trials: 4, trial_timeout: 8s", "trials: 1")
        + "enqueue: [{data.hang: true, model.fault: none, train.learning_rate: 0.01}]"
    )
    sweep.write_code(CODE.replace(HANG, f"note('hangs'); {HANG}"))
    agent = sweep.start()
    try:
        wait_until((sweep.folder / "hangs").exists)
        agent.send_signal(signal.SIGTERM)
        output, _ = agent.communicate(timeout=60)
    finally:
        kill_group(agent)
    assert agent.returncode == 4, output
    assert "some batch did not end in 20s; its worker is killed" in output
    assert sweep.states() == {0: "waiting"}
    assert sweep.runs() == []  # the data are looked at before a trial starts

    sweep.write_code(CODE.replace(HANG, "pass"))
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    sweep.assert_truth(finished=1)
    assert sweep.n_resumed() == 1
