"""Several trials in one worker, in this process."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sweeper.events import Ended, Interrupted, Started
from sweeper.models.dropout import drawing_by
from sweeper.study.failures import count_failure
from sweeper.study.lane_counts import best_lanes
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.training.checkpoint import load_checkpoint
from sweeper.training.packed.member import Member
from sweeper.training.packed.packs import Packs
from sweeper.training.seed import BatchSeeds
from sweeper.trial import EpochMetrics, FailureKind, Outcome, TrialState
from sweeper.workers.lane_plan import LanePlan, plan_lanes
from sweeper.workers.signals import StopRequest
from sweeper.workers.worker import Worker
from tests.support.disk_calls import note_disk_calls
from tests.support.function_studies import one_place, worker_args
from tests.support.sweep_studies import begin, claim_trial, log
from tests.support.tape import TapeCapture

LANES, PACK = {"lanes": 3}, {"pack": 3}
#: Of three that are computed at once.
TOGETHER = {"packed": "3", "packed_in": "worker/0"}
#: Draws in each batch. A trial is 12 batches of training and 2 of evaluation, twice.
DRAWING: dict[str, Any] = {
    "data": {"name": "digits", "batch_size": 128},
    "model": {"architecture": "mlp", "width": 16, "dropout": {"low": 0.1, "high": 0.5}},
    "train": {
        "epochs": 2,
        "mixup": 0.2,
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    },
    "tracking": {"log_models": "completed"},
}


def begin_lanes(folder: Path, *, trials: int = 5, **changes: Any) -> SweepStudy:
    study = begin(folder, **{**DRAWING, "budget": {"trials": trials}, "run": LANES, **changes})
    study.leases.renew("agent")
    return study


class Followed:
    """A worker, and what it told its agent.

    Args:
        study: To work on.
        stop: Told of each trial's progress; whether the worker is to stop.
        device: On which it trains.
        lanes: Its plan; None for that of the study file.
    """

    def __init__(
        self,
        study: SweepStudy,
        stop: Callable[[int, float], bool] = lambda n, epochs: False,
        device: str = "cpu",
        lanes: LanePlan | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.epochs: list[tuple[int, float]] = []
        self.over: list[int] = []
        self._stop = stop
        self._stopping = StopRequest()
        place = one_place(study, device)
        self.worker = Worker(
            worker_args(study, place if lanes is None else replace(place, lanes=lanes)),
            study,
            self._stopping,
            tell=self.notes.append,
            tell_epochs=self._tell_epochs,
            tell_over=self.over.append,
        )

    def _tell_epochs(self, number: int, epochs: float) -> None:
        self.epochs.append((number, epochs))
        if self._stop(number, epochs):
            self._stopping.set()


@pytest.fixture(autouse=True)
def told_of_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.study.running_trial._TELL_EVERY_S", 0.0)


def work(study: SweepStudy, **changes: Any) -> Followed:
    followed = Followed(study, **changes)
    followed.worker.work()
    return followed


def measured(study: SweepStudy, number: int) -> list[dict[str, float]]:
    epochs = [event for event in log(study, number) if isinstance(event, EpochMetrics)]
    return [
        {name: value for name, value in each.values.items() if name != "epoch_seconds"}
        for each in epochs
    ]


def weights(study: SweepStudy, number: int) -> dict[str, Tensor]:
    found = load_checkpoint(study.paths.model(number))
    assert found is not None
    return found


def assert_same(study: SweepStudy, other: SweepStudy, numbers: Sequence[int]) -> None:
    for number in numbers:
        assert measured(study, number) == measured(other, number)
        found, expected = weights(study, number), weights(other, number)
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


def outcome(study: SweepStudy, number: int) -> Outcome:
    last = log(study, number)[-1]
    assert isinstance(last, Ended)
    return last.outcome


def last_tags(study: SweepStudy, number: int) -> Mapping[str, str]:
    last = log(study, number)[-1]
    assert isinstance(last, Ended | Interrupted)
    return last.tags


def one_by_one(folder: Path, **changes: Any) -> SweepStudy:
    """The same study in one lane; it began with several."""
    begin_lanes(folder, **changes)
    study = begin_lanes(folder, **{**changes, "run": {"lanes": 1}})
    work(study)
    return study


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> SweepStudy:
    """Five trials in one lane, to be looked at."""
    return one_by_one(tmp_path_factory.mktemp("alone"))


def seconds_of(study: SweepStudy) -> dict[int, tuple[float, float]]:
    """When each trial began and ended."""
    spans = {}
    for number in range(len(study.trials())):
        events = log(study, number)
        [began] = [event.time_s for event in events if isinstance(event, Started)]
        [ended] = [event.time_s for event in events if isinstance(event, Ended)]
        spans[number] = began, ended
    return spans


def test_trials_in_lanes_are_those_of_one_lane_bit_for_bit(
    alone: SweepStudy, tmp_path: Path
) -> None:
    study = begin_lanes(tmp_path)
    followed = work(study)
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert followed.notes == []
    assert last_tags(study, 0) == {}
    assert_same(study, alone, range(5))
    assert sorted(followed.over) == list(range(5))


def test_the_lanes_are_full_as_long_as_trials_are_left(tmp_path: Path) -> None:
    study, begun_s = begin_lanes(tmp_path), time.perf_counter()
    followed = work(study)
    wall_s = time.perf_counter() - begun_s
    spans = seconds_of(study)
    first_end = min(ended for _, ended in spans.values())
    began = [number for number, (began, _) in spans.items() if began < first_end]
    assert began == [0, 1, 2]
    assert [number for number, _ in followed.epochs[:6]] == [0, 1, 2, 0, 1, 2]
    tags = [event.tags for n in range(3) for event in log(study, n) if isinstance(event, Started)]
    assert [each["lane"] for each in tags] == ["0", "1", "2"]
    seconds = [outcome(study, number).seconds for number in range(5)]
    own_s = sum(s for each in seconds for entry, s in each.items() if entry != "start")
    assert 0 < own_s < wall_s  # each trial is booked its own time alone, about a third


def test_free_lanes_are_filled_in_one_visit_and_epochs_reported_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin_lanes(tmp_path, trials=8, run={"lanes": 8})
    done = note_disk_calls(monkeypatch)
    work(study)
    n_visits = sum(path == study.paths.journal for _, path in done)
    # Claim and draw of the first trial, then of seven; what the data are; two epochs; eight ends.
    assert n_visits == 2 + 2 + 2 + 2 + 8


def test_lanes_begin_as_there_is_memory_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin_lanes(tmp_path / "study")
    followed, asked = Followed(study), list[tuple[int, int]]()

    def fitting(n_wanted: int, n_at_work: int) -> int:
        asked.append((n_wanted, n_at_work))
        return 0 if len(asked) < 3 else min(n_wanted, 2 - n_at_work)

    monkeypatch.setattr(followed.worker._memory, "fitting", fitting)
    followed.worker.work()
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert asked[:3] == [(2, 1)] * 3
    begun = seconds_of(study)
    at_once = [sum(b <= begun[n][0] < e for b, e in begun.values()) for n in range(5)]
    assert max(at_once) == 2


def test_a_stop_puts_every_lane_back_within_its_batch_and_all_go_on(
    alone: SweepStudy, tmp_path: Path
) -> None:
    study = begin_lanes(tmp_path)
    work(study, stop=lambda number, epochs: number == 1 and epochs > 1.3)
    assert study.counts() == {TrialState.WAITING: 5}
    for number in range(3):
        last = log(study, number)[-1]
        assert isinstance(last, Interrupted)
        assert "stopped in epoch 2" in last.cause
        saved = load_checkpoint(study.paths.checkpoint(number))
        assert saved is not None
        assert 0 < saved["totals"]["n_batches"] < 12
    work(study)
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert_same(study, alone, range(5))


@pytest.mark.parametrize("n_lanes", [1, 3])
def test_only_a_trial_alone_has_a_checkpoint_after_each_epoch(
    n_lanes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.workers.runner._SAVE_EVERY_S", 1e9)
    study, saved = begin_lanes(tmp_path, trials=2, run={"lanes": n_lanes}), []

    def look(number: int, epochs: float) -> bool:
        if epochs > 1:
            saved.append(study.paths.checkpoint(number).exists())
        return False

    work(study, stop=look)
    assert saved == [n_lanes == 1] * len(saved) != []


NO_MEMORY = (
    "trial {number}: there was not enough memory for {before} trials at once; from now on this "
    "worker trains {now}, and that one is tried again alone"
)


class Faulty(nn.Sequential):
    """Ends its training in one way or another, in the third batch."""

    def __init__(self, fault: str) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.1))
        self._fault = fault
        self._n_batches = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self._n_batches += self.training
        if self._n_batches == 3 and self._fault == "raises":
            raise StopIteration("no batch")
        if self._n_batches == 3 and self._fault == "memory":
            torch.empty(2**50)
        outputs: Tensor = super().forward(inputs)
        return outputs * float("nan") if self._fault == "nan" else outputs


def build_faulty(shape: Sequence[int], n_outputs: int, *, fault: str) -> nn.Module:
    return Faulty(fault)


def test_what_ends_one_lane_ends_no_other(tmp_path: Path) -> None:
    faults = ["raises", "memory", "nan", "none", "none"]
    changes: dict[str, Any] = {
        "model": {
            "architecture": f"{__name__}:build_faulty",
            "fault": {"choices": ["none", "raises", "memory", "nan"]},
        },
        "train": {"epochs": 2, "learning_rate": {"low": 0.01, "high": 0.1}},
        "enqueue": [{"model.fault": fault} for fault in [*faults, "none", "none"]],
    }
    study = begin_lanes(tmp_path / "lanes", run={"lanes": 5}, **changes)
    followed = work(study)
    assert [number for number, _ in followed.epochs[:5]] == list(range(5))
    assert max(epochs for number, epochs in followed.epochs if number == 2) == 1
    ends = [outcome(study, number) for number in range(7)]
    assert [end.state for end in ends] == [
        TrialState.FAILED,
        TrialState.FAILED,
        TrialState.DIVERGED,
        *[TrialState.COMPLETE] * 4,
    ]
    assert ends[0].cause == "StopIteration: no batch"
    assert ends[1].kind == FailureKind.OUT_OF_MEMORY
    assert followed.notes == [NO_MEMORY.format(number=1, before=4, now=3)]  # 0 had left
    assert_same(study, one_by_one(tmp_path / "one", **changes), range(3, 7))
    tried_again = [event.time_s for event in log(study, 1) if isinstance(event, Started)][1]
    # The last trial came when this one had failed for good.
    assert tried_again > max(log(study, number)[-1].time_s for number in (0, 2, 3, 4, 5))


@pytest.mark.parametrize(("n_deaths", "is_alone"), [(1, False), (2, True)])
def test_whose_workers_die_is_tried_without_company(
    tmp_path: Path, n_deaths: int, is_alone: bool
) -> None:
    study = begin_lanes(tmp_path)
    for n in range(n_deaths):
        claimed = claim_trial(study, f"worker-{n}")
        assert claimed is not None
        count_failure(study.storage, study.trial_id(0), FailureKind.LOST_WORKER, 0)
        put_back(study, claimed.number)
    work(study)
    spans = seconds_of(study)
    began, ended = spans.pop(0)
    apart = [other_ended <= began or ended <= other for other, other_ended in spans.values()]
    assert all(apart) == is_alone


def test_trials_of_a_study_without_lanes_that_draw_go_on_one_by_one_which_is_said(
    tmp_path: Path,
) -> None:
    begin_lanes(tmp_path, run={})
    study = begin_lanes(tmp_path)
    followed = work(study)
    assert followed.notes == [
        "the study's trials are trained one by one, operator by operator: it began without lanes, "
        "so what model.dropout draws would change with the company; begin another study with "
        "`--name NEW`, or leave run.lanes and run.pack out"
    ]
    spans = sorted(seconds_of(study).values())
    assert all(one[1] <= other[0] for one, other in zip(spans, spans[1:], strict=False))


def test_their_number_grows_while_that_is_faster_and_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.workers.lane_count._LEAST_S", 0.0)
    monkeypatch.setattr("sweeper.workers.lane_count._LEAST_STRETCHES", 2)
    monkeypatch.setattr("sweeper.workers.lane_count._ENOUGH_S", 0.0)
    monkeypatch.setattr("sweeper.workers.lane_count._WORTH", 0.0)  # of whatever speed
    auto = {"run": {"lanes": "auto"}}
    study, plan = begin_lanes(tmp_path, trials=12, **auto), LanePlan(first=1, most=4)
    followed = work(study, lanes=plan)
    [note] = followed.notes
    assert note.startswith("cpu: 4 trials at once: 1, 2, 4 did ")
    [(device, best)] = best_lanes(study.attributes).items()
    assert (device, best.n, [n for n, _ in best.rates]) == ("cpu", 4, [1, 2, 4])
    assert note == f"cpu: {best.explain()}"
    at_work = {number for number, _ in followed.epochs[: [n for n, _ in followed.epochs].index(1)]}
    assert at_work == {0}
    further = begin_lanes(tmp_path, trials=16, **auto)
    again = work(further, lanes=plan)
    assert again.notes == []
    assert [number for number, _ in again.epochs[:4]] == [12, 13, 14, 15]


@pytest.mark.parametrize(("most_running", "wanted"), [(None, 6), (3, 1), (2, 0), (1, 0)])
def test_what_runs_elsewhere_counts_among_what_a_search_may_lose(
    tmp_path: Path, most_running: int | None, wanted: int
) -> None:
    study = begin_lanes(tmp_path, trials=8, run={"lanes": "auto"})
    for _ in range(2):
        claim_trial(study, "elsewhere")
    plan = LanePlan(first=1, most=8, most_running=most_running)
    assert Followed(study, lanes=plan).worker._count_wanted() == wanted


def test_trials_of_a_study_without_lanes_that_draw_nothing_take_them(tmp_path: Path) -> None:
    rates = DRAWING["train"]["learning_rate"]
    plain: dict[str, Any] = {
        "model": {"architecture": "mlp", "width": 16},
        "train": {"epochs": 2, "learning_rate": rates},
    }
    begin_lanes(tmp_path / "lanes", **plain, run={})
    study = begin_lanes(tmp_path / "lanes", **plain)
    followed = work(study)
    assert followed.notes == []
    assert [number for number, _ in followed.epochs[:3]] == [0, 1, 2]
    alone = begin_lanes(tmp_path / "one", **plain, run={})
    work(alone)
    assert_same(study, alone, range(5))


class Counted(nn.Sequential):
    """Counts its calls in this process, of however many trials."""

    n_calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        Counted.n_calls += 1
        outputs: Tensor = super().forward(inputs)
        return outputs


def build_counted(shape: Sequence[int], n_outputs: int) -> nn.Module:
    return Counted(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.2), nn.Linear(16, n_outputs))


def assert_nearly_same(study: SweepStudy, other: SweepStudy, numbers: Sequence[int]) -> None:
    """Sums of float32 are not taken in the same order."""
    for number in numbers:
        found, expected = weights(study, number), weights(other, number)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        losses = [[each["val_loss"] for each in measured(s, number)] for s in (study, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_trials_in_a_pack_are_those_of_one_lane_computed_together(tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "model": {"architecture": f"{__name__}:build_counted"},
        "train": {
            "epochs": 2,
            "optimizer": "sgd",
            "mixup": 0.2,
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        },
    }
    Counted.n_calls = 0
    study = begin_lanes(tmp_path / "pack", trials=3, run=PACK, **own)
    followed = work(study)
    assert followed.notes == []
    assert study.counts() == {TrialState.COMPLETE: 3}
    n_together = 2 * 14
    assert n_together <= Counted.n_calls < 2 * n_together  # and what checks the model
    assert [last_tags(study, number) for number in range(3)] == [TOGETHER] * 3
    seconds = [outcome(study, number).seconds for number in range(3)]
    assert all(each["step"] > 0 and each["evaluate"] > 0 for each in seconds)
    assert_nearly_same(study, one_by_one(tmp_path / "one", trials=3, **own), range(3))


def test_each_kind_of_trials_has_its_pack_and_nobody_waits_for_company(tmp_path: Path) -> None:
    widths = [8, 16, 8, 16, 24]
    study = begin_lanes(
        tmp_path,
        run={"lanes": 5, "pack": 2},
        model={"architecture": "mlp", "width": {"choices": [8, 16, 24]}, "dropout": 0.1},
        enqueue=[{"model.width": width} for width in widths],
    )
    followed = work(study)
    assert [number for number, _ in followed.epochs[:5]] == [0, 1, 2, 3, 4]
    tags = [last_tags(study, number) for number in range(5)]
    assert [each["packed_in"] for each in tags] == [f"worker/{n}" for n in (0, 1, 0, 1, 2)]
    assert [each["packed"] for each in tags] == ["2", "2", "2", "2", "1"]


def test_who_diverges_in_a_pack_ends_alone_and_the_next_takes_its_place(tmp_path: Path) -> None:
    rates = [0.01, 1e30, 0.02, 0.03, 0.04]
    changes: dict[str, Any] = {
        "model": {"architecture": "mlp", "width": 16, "dropout": 0.1},
        "train": {"epochs": 2, "optimizer": "sgd", "learning_rate": {"choices": rates}},
        "enqueue": [{"train.learning_rate": rate} for rate in rates],
    }
    study = begin_lanes(tmp_path / "pack", run=PACK, **changes)
    followed = work(study)
    assert followed.notes == []
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Member)]
    assert kept == []  # the worker is still there, and its packs hold nobody who has left
    assert study.counts() == {TrialState.COMPLETE: 4, TrialState.DIVERGED: 1}
    assert outcome(study, 1).state == TrialState.DIVERGED
    spans = seconds_of(study)
    assert spans[3][0] < min(spans[0][1], spans[2][1])
    assert_nearly_same(study, one_by_one(tmp_path / "one", **changes), [0, 2, 3, 4])


#: No input is so large but those of the trial that there is no memory for.
LARGE = 1000.0


class Marked(Dataset[tuple[Tensor, int]]):
    """Rows of a trial whose mark its inputs have; the targets are those of any trial."""

    targets = [n % 3 for n in range(48)]

    def __init__(self, mark: float) -> None:
        inputs = torch.randn(48, 8, generator=torch.Generator().manual_seed(0))
        self._inputs = torch.cat([inputs[:, :7], torch.full((48, 1), mark)], 1)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._inputs[row], self.targets[row]


def load_marked(mark: float) -> tuple[Marked, Marked, None]:
    return Marked(mark), Marked(mark), None


class OfMemory(torch.autograd.Function):
    """What passes, if there is memory for it."""

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        if (inputs >= LARGE).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs.clone()

    @staticmethod
    def setup_context(*_: Any) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: Any, inputs: Tensor) -> tuple[Tensor, int]:
        return OfMemory.forward(inputs), in_dims[0]


class Hungry(nn.Sequential):
    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = super().forward(OfMemory.apply(inputs) if self.training else inputs)
        return outputs


def build_hungry(shape: Sequence[int], n_outputs: int) -> nn.Module:
    return Hungry(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, n_outputs))


def test_for_whom_there_is_no_memory_in_a_pack_ends_no_other(tmp_path: Path) -> None:
    marks = [0.0, LARGE, 0.0, 0.0, 0.0]
    changes: dict[str, Any] = {
        "data": {
            "name": f"{__name__}:load_marked",
            "batch_size": 16,
            "mark": {"choices": [0.0, LARGE]},
        },
        "model": {"architecture": f"{__name__}:build_hungry"},
        "train": {
            "epochs": 2,
            "optimizer": "sgd",
            "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        },
        "trials": 4,
        "enqueue": [{"data.mark": mark} for mark in marks],
    }
    study = begin_lanes(tmp_path / "pack", run=PACK, **changes)
    followed = work(study)
    assert study.counts() == {TrialState.COMPLETE: 4, TrialState.FAILED: 1}
    end = outcome(study, 1)
    assert (end.kind, end.retries) == (FailureKind.OUT_OF_MEMORY, 1)
    starts = [event for event in log(study, 1) if isinstance(event, Started)]
    assert [event.tags.get("lane") for event in starts] == ["1", None]  # then with nobody beside
    assert followed.notes == [
        "run.pack: the device has not enough memory for 3 trials of this kind at once; from now "
        "on it is 1",
        NO_MEMORY.format(number=1, before=3, now=2),
    ]
    first_end = min(log(study, number)[-1].time_s for number in (0, 2))
    assert log(study, 3)[0].time_s > first_end  # as there were two places left
    assert_nearly_same(study, one_by_one(tmp_path / "one", **changes), [0, 2, 3, 4])


def test_a_stop_puts_a_pack_back_in_mid_epoch_and_all_go_on(
    alone: SweepStudy, tmp_path: Path
) -> None:
    study = begin_lanes(tmp_path, run=PACK)
    first = work(study, stop=lambda number, epochs: number == 1 and epochs > 1.3)
    assert study.counts() == {TrialState.WAITING: 5}
    saved = [load_checkpoint(study.paths.checkpoint(number)) for number in range(3)]
    assert all(each is not None and 0 < each["totals"]["n_batches"] < 12 for each in saved)
    assert [last_tags(study, number) for number in range(3)] == [TOGETHER] * 3
    second = work(study)
    assert first.notes == second.notes == []
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert_nearly_same(study, alone, range(5))


class Late(TapeCapture):
    """A device that is at work until somebody waits for it, or has looked ten times.

    Attributes:
        n_looks: At devices that were at work.
        n_waits: For a device that was at work.
    """

    n_looks = n_waits = 0

    def __init__(self) -> None:
        super().__init__()
        self._looks_left = 0

    @property
    def n_under_way(self) -> int:
        Late.n_looks += self._looks_left > 0
        self._looks_left = max(0, self._looks_left - 1)
        return 2 if self._looks_left else 0

    @contextmanager
    def running(self) -> Iterator[None]:
        self._looks_left = 10
        yield

    def wait(self) -> None:
        Late.n_waits += self._looks_left > 0
        self._looks_left = 0


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dropouts draw as they do on a GPU."""
    monkeypatch.setattr("sweeper.training.loop.BatchSeeds", partial(BatchSeeds, has_keys=True))
    with drawing_by(None):
        yield


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("size", [1, 2])
def test_lanes_wait_for_the_device_only_if_none_can_go_on(tmp_path: Path, size: int) -> None:
    plain: dict[str, Any] = {
        "model": {"architecture": "mlp", "width": 16, "dropout": {"low": 0.1, "high": 0.5}},
        "train": {"epochs": 2, "optimizer": "sgd", "learning_rate": {"low": 0.001, "high": 0.1}},
    }
    study = begin_lanes(tmp_path / "captured", **plain)
    followed, Late.n_looks, Late.n_waits = Followed(study), 0, 0
    followed.worker._runner.packs = Packs(size, followed.notes.append, Late)
    followed.worker.work()
    assert followed.notes == []
    assert study.counts() == {TrialState.COMPLETE: 5}
    assert Late.n_looks
    assert size == 2 or not Late.n_waits  # who joins others lets them end what they are at
    assert_nearly_same(study, one_by_one(tmp_path / "one", **plain), range(5))


@pytest.mark.usefixtures("keys")
def test_what_a_gpu_does_with_auto_is_what_trials_come_to_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "LEAST_S": 0.0,
        "LEAST_STRETCHES": 1,
        "ENOUGH_S": 0.0,
        "WORTH": 0.0,
    }.items():
        monkeypatch.setattr(f"sweeper.workers.lane_count._{name}", value)
    monkeypatch.setattr("sweeper.workers.runner.CudaCapture", lambda device: TapeCapture())
    plain: dict[str, Any] = {
        "data": {"name": "digits", "batch_size": 128},
        "model": {"architecture": "mlp", "width": 16, "dropout": {"low": 0.1, "high": 0.5}},
        "train": {"epochs": 2, "optimizer": "sgd", "learning_rate": {"low": 0.001, "high": 0.1}},
    }
    study = begin_lanes(tmp_path / "auto", trials=12, run={"lanes": "auto"}, **plain)
    spec = replace(study.spec, sampler=replace(study.spec.sampler, name="random"))
    followed = work(study, lanes=plan_lanes(spec, "cuda:0", n_workers=3))
    [note] = followed.notes
    assert note.startswith("cpu: 4 trials at once: 1, 2, 4 did ")
    packed = [int(last_tags(study, number)["packed"]) for number in range(12)]
    assert max(packed) > 1
    assert_nearly_same(study, one_by_one(tmp_path / "one", trials=12, **plain), range(12))


def test_what_cannot_be_packed_has_lanes_which_is_said_once(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"train": {"epochs": 1, "optimizer": "torch.optim:Adagrad"}}
    study = begin_lanes(tmp_path / "pack", trials=2, run=PACK, **changes)
    followed = work(study)
    assert followed.notes == [
        "run.pack: trained one by one: train.optimizer: torch.optim:Adagrad is not among those "
        "that are computed for several trials"
    ]
    assert [number for number, _ in followed.epochs[:4]] == [0, 1, 0, 1]
    assert last_tags(study, 1) == {"packed": "1"}
    assert_same(study, one_by_one(tmp_path / "one", trials=2, **changes), range(2))
