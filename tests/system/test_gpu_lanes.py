"""What can only be seen on a GPU of a worker's lanes and packs, and of a command with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sweeper.events import Interrupted, Started
from sweeper.study.lane_counts import best_lanes
from sweeper.study.study import SweepStudy
from sweeper.training.checkpoint import load_checkpoint
from sweeper.trial import EpochMetrics, TrialState
from sweeper.workers.lane_plan import ALONE
from tests.support.sweep import Sweep
from tests.support.sweep_studies import log
from tests.workers.test_lanes import Followed, assert_nearly_same, begin_lanes, measured, outcome

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
CUDA = torch.device("cuda:0")
#: Nothing in it keeps a batch from being captured.
PLAIN: dict[str, Any] = {
    "model": {"architecture": "mlp", "width": 16, "dropout": {"low": 0.1, "high": 0.5}},
    "train": {
        "epochs": 2,
        "optimizer": "sgd",
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    },
}


@pytest.fixture(autouse=True)
def told_of_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.study.running_trial._TELL_EVERY_S", 0.0)


def work(study: SweepStudy, device: torch.device = CUDA, **changes: Any) -> Followed:
    followed = Followed(study, device=str(device), **changes)
    followed.worker.work()
    return followed


def alone(folder: Path, **changes: Any) -> SweepStudy:
    """The same study, operator by operator and one by one."""
    study = begin_lanes(folder, **changes)
    work(study, lanes=ALONE)
    return study


@pytest.mark.parametrize(
    "run",
    [{"lanes": 1}, {"lanes": 3}, {"pack": 3}, {"lanes": 4, "pack": 2}],
    ids=["one", "lanes", "pack", "packs"],
)
def test_a_worker_trains_what_it_trains_one_by_one(tmp_path: Path, run: dict[str, int]) -> None:
    study = begin_lanes(tmp_path / "many", **{**PLAIN, "run": run})
    followed = work(study)
    assert followed.notes == []
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert_nearly_same(study, alone(tmp_path / "one", **PLAIN), range(5))


def test_with_auto_a_worker_finds_out_how_many_trials_at_once_are_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.workers.lane_count._LEAST_S", 0.05)
    search = {"sampler": {"name": "random"}, "run": {"lanes": "auto"}}
    longer = {**PLAIN, "train": {**PLAIN["train"], "epochs": 40}, **search}
    study = begin_lanes(tmp_path / "auto", trials=40, **longer)
    followed = work(study)
    assert study.counts() == {TrialState.COMPLETE: 40}
    [(device, best)] = best_lanes(study.attributes).items()
    assert device == torch.cuda.get_device_name(CUDA)
    assert followed.notes == [f"{device}: {best.explain()}"]
    assert [n for n, _ in best.rates][:2] == [1, 2]
    assert best.n in dict(best.rates)


class Hungry(nn.Sequential):
    """The second one that is built asks for more memory than any GPU has, in its second batch."""

    n_built = 0

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__(*parts)
        Hungry.n_built += 1
        self.number, self.n_fed = Hungry.n_built, 0

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and inputs.is_cuda:
            self.n_fed += 1
            if (self.number, self.n_fed) == (2, 2):
                torch.empty(2**42, device=inputs.device)
        outputs: Tensor = super().forward(inputs)
        return outputs


def build_hungry(shape: Sequence[int], n_outputs: int) -> nn.Module:
    return Hungry(nn.Flatten(), nn.Linear(64, n_outputs))


def test_who_finds_no_memory_is_tried_again_alone_and_the_others_go_on(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        **PLAIN,
        "model": {"architecture": f"{__name__}:build_hungry"},
        "run": {"lanes": 3, "pack": "off"},
    }
    study = begin_lanes(tmp_path / "lanes", trials=3, **changes)
    Hungry.n_built = 0
    work(study)
    assert study.counts() == {TrialState.COMPLETE: 3}
    [interrupted] = [event for event in log(study, 1) if isinstance(event, Interrupted)]
    assert "out of memory" in interrupted.cause
    assert interrupted.cause.endswith("it is tried again with the device to itself")
    for number in (0, 2):
        assert not any(isinstance(event, Interrupted) for event in log(study, number))
    first, again = [event.time_s for event in log(study, 1) if isinstance(event, Started)]
    assert first < again
    assert again > max(log(study, number)[-1].time_s for number in (0, 2))
    assert_nearly_same(study, alone(tmp_path / "one", trials=3, **changes), range(3))


def test_a_member_goes_on_on_a_cpu_and_from_there_in_a_pack(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "data": {"name": "digits", "batch_size": 16},  # three stretches, and validation
        "model": {"architecture": "mlp", "width": 16},
        "train": {
            **PLAIN["train"],
            "epochs": 4,
            "momentum": 0.9,
            "learning_rate": {"low": 0.001, "high": 0.01},
        },
    }
    run = {"run": {"pack": 3}}
    study = begin_lanes(tmp_path / "moving", trials=3, **changes, **run)
    work(study, stop=lambda number, epochs: number == 1 and epochs > 0.3)
    assert study.counts() == {TrialState.WAITING: 3}
    saved = [load_checkpoint(study.paths.checkpoint(number)) for number in range(3)]
    assert all(each is not None and each["totals"]["n_batches"] for each in saved)
    on_cpu = begin_lanes(tmp_path / "moving", trials=3, **changes, run={"lanes": 3})
    work(on_cpu, torch.device("cpu"), stop=lambda number, epochs: number == 1 and epochs > 1.3)
    assert on_cpu.counts() == {TrialState.WAITING: 3}
    last = begin_lanes(tmp_path / "moving", trials=3, **changes, **run)
    followed = work(last)
    assert followed.notes == []
    assert last.counts() == {TrialState.COMPLETE: 3}
    assert [len(measured(last, number)) for number in range(3)] == [4] * 3
    assert outcome(last, 0).state == TrialState.COMPLETE
    assert_nearly_same(last, alone(tmp_path / "one", trials=3, **changes), range(3))


N_EPOCHS = 200
STUDY = f"""
budget: {{trials: 4}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 16}}
model: {{architecture: mlp, depth: 1, width: 16}}
train:
  epochs: {N_EPOCHS}
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
run: {{pack: 4}}
"""


@pytest.mark.usefixtures("started_anew")  # CUDA cannot be forked
def test_a_command_that_is_stopped_puts_its_pack_back(sweep: Sweep) -> None:
    sweep.write(STUDY)
    sweep.start_and_stop(when=lambda: all(len(sweep.epochs(number)) > 1 for number in range(4)))
    assert sweep.states() == dict.fromkeys(range(4), "waiting")
    for number in range(4):
        [started] = [event for event in sweep.events(number) if isinstance(event, Started)]
        assert (started.tags["device"], started.tags["pack"]) == ("cuda:0", "4")
        interrupted, n_epochs = sweep.events(number)[-1], len(sweep.epochs(number))
        assert isinstance(interrupted, Interrupted)
        causes = f"stopped in epoch {n_epochs + 1}", f"stopped after epoch {n_epochs}"
        assert interrupted.cause in causes
        saved = load_checkpoint(sweep.paths.checkpoint(number))
        assert saved is not None
        assert [EpochMetrics(**each) for each in saved["history"]] == sweep.epochs(number)


@pytest.mark.usefixtures("started_anew")  # CUDA cannot be forked
def test_what_a_pack_recorded_is_verified_alone(sweep: Sweep) -> None:
    sweep.write(STUDY.replace(f"epochs: {N_EPOCHS}", "epochs: 2"))
    assert sweep.run().returncode == 0
    done = sweep.run("verify", "sweep.yaml", "--n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed" not in done.stderr
