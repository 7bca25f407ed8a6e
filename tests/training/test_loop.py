import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import models

from sweeper.config.metrics import LOSSES
from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import LoaderSplit, ResidentSplit, Split
from sweeper.data.dataset import TrialData, load_data
from sweeper.errors import TrialInterrupted, TrialLost, TrialPruned
from sweeper.models.build import build_model
from sweeper.training.checkpoint import load_checkpoint, save_checkpoint
from sweeper.training.learner import Runtime
from sweeper.training.loop import drive, training
from sweeper.trial import DataInfo, EpochMetrics, Objective
from tests.support.clock import Clock
from tests.support.ended_recorders import Death, Dying
from tests.support.recorder import Recorder
from tests.support.table_files import write_table
from tests.support.wav_files import tone, write_wav

CPU = torch.device("cpu")
ACCURACY = Objective(("val_accuracy",), ("maximize",))
FALLING = Objective(("learning_rate", "val_loss"), ("minimize", "minimize"))  # the last counts
LOSS = Objective(("val_loss",), ("minimize",))
CNN = {"architecture": "cnn", "params": {"channels": 4, "dropout": 0.3, "batch_norm": True}}
MLP: dict[str, Any] = {"architecture": "mlp", "params": {"width": 16, "dropout": 0.3}}
Weights = dict[str, Tensor]


class Jittered(Dataset[tuple[Tensor, int]]):
    """Images with noise from each of the global generators."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs = inputs
        self._targets = targets

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        noise = 0.1 * torch.randn(1, 8, 8) + random.random() + float(np.random.standard_normal())
        return self._inputs[row] + noise, int(self._targets[row])


@cache
def digits(*, jittered: bool = False) -> TrialData:
    images, classes = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    targets = torch.tensor(classes)
    info = DataInfo("digits", "0" * 16, (1, 8, 8), 10, n_train=300, n_validation=100)
    splits: list[Split] = []
    for rows in (torch.arange(300), torch.arange(300, 400)):
        if jittered:
            splits.append(LoaderSplit(Jittered(inputs, targets), rows, None, device=CPU))
        else:
            splits.append(ResidentSplit(inputs, targets, rows, None))
    train_rows, validation_rows = splits
    return TrialData(info, train_rows, validation_rows)


def config(model: Mapping[str, Any] = MLP, seed: int = 5, **settings: Any) -> TrialConfig:
    return TrialConfig(
        params={},
        data=DataConfig(name="digits", batch_size=32),
        model=ModelConfig(**model),
        train=TrainConfig(**{"epochs": 3, **settings}),
        seed=seed,
    )


def run(
    trial: TrialConfig,
    reporter: Recorder,
    checkpoint: Path,
    *,
    objective: Objective = ACCURACY,
    data: TrialData | None = None,
    save_every_s: float = 0.0,
) -> Weights:
    steps = training(
        trial,
        data or digits(),
        objective=objective,
        runtime=Runtime(CPU),
        reporter=reporter,
        checkpoint=checkpoint,
        save_every_s=save_every_s,
    )
    return drive(steps)


def assert_same_weights(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_every_epoch_reports_the_metrics_in_order_and_learns(tmp_path: Path) -> None:
    reporter = Recorder()
    run(config(learning_rate=0.01, epochs=10), reporter, tmp_path / "c.pt")
    assert [metrics.epoch for metrics in reporter.history] == list(range(1, 11))
    measured = ("val_accuracy", "val_f1")  # of ten classes
    names = (*LOSSES, *measured, "learning_rate", "epoch_seconds")
    assert all(tuple(metrics.values) == names for metrics in reporter.history)
    first, *_, last = reporter.history
    assert last.values["val_loss"] < first.values["val_loss"]
    assert last.values["val_accuracy"] > 0.7
    assert all(metrics.values["epoch_seconds"] > 0 for metrics in reporter.history)
    assert first.time_s < last.time_s


def test_it_steps_by_batches_of_training_and_evaluation(tmp_path: Path) -> None:
    whole = Recorder()
    expected = run(config(epochs=2), whole, tmp_path / "whole.pt")
    reporter = Recorder()
    steps = training(
        config(epochs=2),
        digits(),
        objective=ACCURACY,
        runtime=Runtime(CPU),
        reporter=reporter,
        checkpoint=tmp_path / "stepped.pt",
    )
    for _ in range(2 * (10 + 4)):
        n_told, n_epochs = len(reporter.progress), len(reporter.history)
        next(steps)
        assert len(reporter.progress) <= n_told + 1
        assert len(reporter.history) <= n_epochs + 1
    assert len(reporter.history) == 1
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert reporter.values() == whole.values()
    assert_same_weights(end.value.value, expected)


class Announced(Recorder):
    """Has its epochs recorded between two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[int] = []

    def announce(self, metrics: EpochMetrics) -> bool:
        self.announced.append(metrics.epoch)
        return True


def test_what_is_announced_is_reported_by_the_next_step(tmp_path: Path) -> None:
    reporter = Announced()
    steps = start(config(epochs=2), reporter, tmp_path / "c.pt")
    for epoch in (1, 2):
        for _ in range(10 + 4 + 1):
            next(steps)
        assert (reporter.announced[-1], len(reporter.heard)) == (epoch, epoch - 1)
        saved = load_checkpoint(tmp_path / "c.pt")
        assert saved is not None
        assert len(saved["history"]) == epoch
    assert next(steps, None) is None
    assert reporter.heard == [1, 2]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(tmp_path: Path) -> None:
    reporters = [Recorder(), Recorder(), Recorder()]
    weights = [
        run(config(CNN, seed=seed), reporter, tmp_path / f"{number}.pt")
        for number, (seed, reporter) in enumerate(zip((5, 5, 6), reporters, strict=True))
    ]
    assert reporters[0].values() == reporters[1].values()
    assert_same_weights(weights[0], weights[1])
    assert reporters[0].values() != reporters[2].values()


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(MLP, "sgd"), (CNN, "adam"), (MLP, "adamw"), (MLP, "rmsprop")],
    ids=["mlp-sgd", "cnn-adam", "mlp-adamw", "mlp-rmsprop"],
)
def test_a_resumed_trial_ends_bit_for_bit_as_one_never_stopped(
    model: Mapping[str, Any], optimizer: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"schedule": "cosine", "warmup_epochs": 0.5, "l1": 1e-5, "l2": 1e-4}
    trial = config(model, epochs=4, optimizer=optimizer, **settings)
    whole = Recorder()
    expected = run(trial, whole, tmp_path / "whole.pt")

    broken = Recorder(2, TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        run(trial, broken, tmp_path / "broken.pt")
    torch.rand(7)  # another process has drawn other numbers
    assert len(broken.history) == 2
    assert_same_weights(run(trial, broken, tmp_path / "broken.pt"), expected)
    assert broken.values() == whole.values()


def interrupt(
    trial: TrialConfig,
    reporter: Recorder,
    checkpoint: Path,
    *,
    after_batches: int,
    **others: Any,
) -> None:
    """One process, which must stop after so many batches and leaves other random states."""
    reporter.n_batches = after_batches
    with pytest.raises(TrialInterrupted):
        run(trial, reporter, checkpoint, **others)
    reporter.n_batches = None
    torch.rand(7)
    np.random.standard_normal()
    random.random()


def assert_same_state(one: Any, other: Any) -> None:
    """Equal bit for bit, however deep."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same_state(value, other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for value, other_value in zip(one, other, strict=True):
            assert_same_state(value, other_value)
    else:
        assert one == other


def assert_same_checkpoint(one: Path, other: Path) -> None:
    """All that a trial goes on from is equal but the times."""
    states = load_checkpoint(one), load_checkpoint(other)
    for state in states:
        assert state is not None
        del state["history"]
    assert_same_state(*states)


#: After how many batches each process stops: an epoch is 10 of training and 4 of evaluation.
STOPS = [
    [1],
    [10],
    [14],
    [14 + 7],
    [14 + 11],
    [3, 4],
    [11, 2],  # both while it is evaluated
    [4, 6 + 1, 3],
]


@pytest.mark.parametrize(
    ("model", "optimizer", "jittered"),
    [
        pytest.param(MLP, "adamw", True, id="mlp-adamw-loader"),
        pytest.param(CNN, "sgd", False, id="cnn-sgd-resident"),
    ],
)
def test_a_trial_stopped_between_batches_ends_bit_for_bit_as_one_never_stopped(
    model: Mapping[str, Any], optimizer: str, jittered: bool, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"schedule": "cosine", "warmup_epochs": 0.5, "l1": 1e-5, "l2": 1e-4}
    settings |= {"random_crop": 1, "random_flip": True, "cutout": 2, "color_jitter": 0.2}
    trial = config(model, optimizer=optimizer, mixup=0.2, epochs=2, **settings)
    data = digits(jittered=jittered)
    assert_stops_change_nothing(trial, data, tmp_path, stops=STOPS)


def assert_stops_change_nothing(
    trial: TrialConfig,
    data: TrialData,
    folder: Path,
    *,
    stops: Sequence[Sequence[int]],
    objective: Objective = ACCURACY,
) -> None:
    """A trial that must stop after so many batches each time ends as one that never does."""
    whole = Recorder()
    expected = run(trial, whole, folder / "whole.pt", objective=objective, data=data)
    for each in stops:
        checkpoint, reporter = folder / f"{each}.pt", Recorder()
        for n in each:
            interrupt(trial, reporter, checkpoint, after_batches=n, objective=objective, data=data)
        weights = run(trial, reporter, checkpoint, objective=objective, data=data)
        assert reporter.values() == whole.values(), each
        assert_same_weights(weights, expected)
        assert_same_checkpoint(checkpoint, folder / "whole.pt")


GRU: dict[str, Any] = {
    "architecture": "rnn",
    "params": {"cell": "gru", "width": 8, "dropout": 0.3},
}


@pytest.mark.parametrize(
    ("model", "resident_bytes"), [(CNN, 2**30), (GRU, 0)], ids=["cnn-resident", "gru-loader"]
)
def test_a_trial_on_clips_that_are_masked_ends_bit_for_bit_as_one_never_stopped(
    model: Mapping[str, Any], resident_bytes: int, tmp_path: Path
) -> None:
    for row in range(48):
        seconds = 0.05 + 0.01 * (row % 7)
        write_wav(
            tmp_path / "clips" / str(row % 3) / f"{row}.wav", tone(300 + 200 * (row % 3), seconds)
        )
    params = {"path": str(tmp_path / "clips"), "target": "label", "sample_rate": 8000}
    params |= {"max_seconds": 1.0, "n_mels": 16}
    clips = DataConfig(
        name="audio", task="classification", validation=0.25, batch_size=4, params=params
    )
    data = load_data(clips, cache_dir=tmp_path, seed=0, device=CPU, resident_bytes=resident_bytes)
    trial = replace(config(model, mask_time=4, mask_frequency=3, mixup=0.2, epochs=2), data=clips)
    stops = [[9], [12 + 5], [2, 3, 14]]  # 9 of training, 3 of evaluation
    assert_stops_change_nothing(trial, data, tmp_path, stops=stops)


TRANSFORMER: dict[str, Any] = {
    "architecture": "transformer",
    "params": {"width": 8, "depth": 1, "dropout": 0.3},
}


@pytest.mark.parametrize(
    ("model", "resident_bytes"),
    [(GRU, 2**30), (TRANSFORMER, 0)],
    ids=["gru-resident", "transformer-loader"],
)
def test_a_trial_on_texts_ends_bit_for_bit_as_one_never_stopped(
    model: Mapping[str, Any], resident_bytes: int, tmp_path: Path
) -> None:
    texts = [f"{'no ' * (row % 5)}{['ja', 'so', 'um'][row % 3]} w{row % 7}" for row in range(48)]
    columns = {"text": texts, "kind": ["a", "b", "c"] * 16}
    params = {"path": str(write_table(tmp_path / "t.csv", columns))}
    params |= {"column": "text", "target": "kind"}
    rows = DataConfig(name="text", validation=0.25, batch_size=4, params=params)
    data = load_data(rows, cache_dir=tmp_path, seed=0, device=CPU, resident_bytes=resident_bytes)
    trial = replace(config(model, l1=1e-5, l2=1e-4, epochs=2), data=rows)
    stops = [[9], [12 + 5], [2, 3, 14]]  # 9 of training, 3 of evaluation
    assert_stops_change_nothing(trial, data, tmp_path, stops=stops)


PERIODIC: dict[str, Any] = {
    "architecture": "mlp",
    "params": {"width": 8, "dropout": 0.3, "batch_norm": True, "embed_numbers": "periodic"},
}


@pytest.mark.parametrize(
    ("words", "mixup", "resident_bytes"),
    [(True, 0.0, 0), (False, 0.2, 2**30)],
    ids=["words-loader", "mixup-resident"],
)
def test_a_trial_on_a_table_ends_bit_for_bit_as_one_never_stopped(
    words: bool, mixup: float, resident_bytes: int, tmp_path: Path
) -> None:
    ages = ["" if row % 9 == 4 else str(row % 7) for row in range(48)]
    columns = {"age": ages, "pay": [f"{row % 5}.5" for row in range(48)]}
    columns |= {"job": ["ja", "so", "um"] * 16} if words else {}
    columns |= {"price": [f"{row % 11}.25" for row in range(48)]}
    path = write_table(tmp_path / "t.csv", columns)
    params = {"path": str(path), "target": "price", "scale": "quantile"}
    rows = DataConfig(name="table", validation=0.25, batch_size=4, params=params)
    data = load_data(rows, cache_dir=tmp_path, seed=0, device=CPU, resident_bytes=resident_bytes)
    trial = replace(config(PERIODIC, mixup=mixup, l1=1e-5, l2=1e-4, epochs=2), data=rows)
    error = Objective(("val_rmse",), ("minimize",))
    stops = [[9], [12 + 5], [2, 3, 14]]  # 9 of training, 3 of evaluation
    assert_stops_change_nothing(trial, data, tmp_path, stops=stops, objective=error)


class Images(Dataset[tuple[Tensor, int]]):
    """Pictures of digits as they are."""

    def __init__(self) -> None:
        images, classes = load_digits(return_X_y=True)
        self._inputs = torch.tensor(images[:200], dtype=torch.float32).reshape(-1, 1, 8, 8) / 8
        self.targets = classes[:200]

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._inputs[row], int(self.targets[row])


def load_images() -> tuple[Images, None]:
    return Images(), None


def test_rows_that_a_transform_changes_by_chance_are_the_same_after_a_stop(tmp_path: Path) -> None:
    data = load_data(
        DataConfig(
            name=f"{__name__}:load_images", transform="torchvision.transforms.v2:RandomErasing"
        ),
        cache_dir=tmp_path,
        seed=0,
        device=CPU,
        resident_bytes=0,
    )
    whole = Recorder()
    expected = run(config(), whole, tmp_path / "whole.pt", data=data)
    checkpoint, reporter = tmp_path / "c.pt", Recorder()
    for n_batches in (3, 2):
        interrupt(config(), reporter, checkpoint, after_batches=n_batches, data=data)
    assert_same_weights(run(config(), reporter, checkpoint, data=data), expected)
    assert reporter.values() == whole.values()


def start(trial: TrialConfig, reporter: Recorder, checkpoint: Path) -> Iterator[None]:
    """The trial as a generator."""
    yield from training(
        trial,
        digits(jittered=trial.params.get("data.name") == "rows:load"),
        objective=ACCURACY,
        runtime=Runtime(CPU),
        reporter=reporter,
        checkpoint=checkpoint,
    )


def test_trials_whose_batches_are_seeded_are_the_same_in_any_company(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"random_crop": 1, "random_flip": True, "mixup": 0.2}
    own = replace(config(seed=6), params={"data.name": "rows:load"})
    trials = [config(CNN, accumulate=3), config(MLP, **changes, epochs=2), own]
    trials = [replace(trial, draws="batch") for trial in trials]
    alone, beside = [Recorder() for _ in trials], [Recorder() for _ in trials]
    for n, (trial, reporter) in enumerate(zip(trials, alone, strict=True)):
        for _ in start(trial, reporter, tmp_path / f"alone-{n}.pt"):
            pass
    paths = [tmp_path / f"beside-{n}.pt" for n in range(len(trials))]
    lanes = [start(*each) for each in zip(trials, beside, paths, strict=True)]
    for _ in range(17):  # into the second epoch
        for lane in lanes:
            next(lane)
    beside[1].n_batches = 1
    with pytest.raises(TrialInterrupted):
        next(lanes.pop(1))
    beside[1].n_batches = None
    for lane in lanes:
        next(lane)
    lanes.insert(0, start(trials[1], beside[1], paths[1]))
    while lanes:
        lanes = [lane for lane in lanes if next(lane, "over") is None]
    for n in range(len(trials)):
        assert beside[n].values() == alone[n].values()
        states = [load_checkpoint(tmp_path / f"{name}-{n}.pt") for name in ("alone", "beside")]
        assert_same_state(*[state["learner"] for state in states if state is not None])


def to_zero(step: int, total_steps: int) -> float:
    return 1 - step / total_steps


EXTRAS: dict[str, dict[str, Any]] = {
    "own-onecycle-accumulated": {
        "optimizer": "torch.optim:NAdam", "schedule": "onecycle", "accumulate": 3,
    },
    "sgd-own-averaged": {"optimizer": "sgd", "schedule": f"{__name__}:to_zero", "ema": 0.9},
    "adamw-onecycle-accumulated-averaged": {
        "optimizer": "adamw", "schedule": "onecycle", "accumulate": 4, "ema": 0.99, "l1": 1e-5,
    },
    "own-own-accumulated-averaged": {
        "optimizer": "torch.optim:Adagrad", "schedule": f"{__name__}:to_zero", "accumulate": 99,
        "ema": 0.5, "clip_grad_norm": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("settings", EXTRAS.values(), ids=EXTRAS)
def test_whatever_makes_the_updates_a_stopped_trial_ends_bit_for_bit(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    stops = [[3, 4], [10], [14 + 7], [4, 6 + 1, 3]]
    assert_stops_change_nothing(config(CNN, epochs=2, **settings), digits(), tmp_path, stops=stops)


def test_a_trial_on_pretrained_weights_goes_on_where_their_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "shufflenet_v2_x0_5"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = models.get_model_weights(name)["DEFAULT"].url
    weights = tmp_path / "hub/checkpoints" / url.rpartition("/")[2]
    weights.parent.mkdir(parents=True)
    torch.save(models.get_model(name).state_dict(), weights)
    model = {"architecture": name, "params": {"weights": "DEFAULT"}}
    trial, whole = config(model, epochs=1, backbone_rate=0.1), Recorder()
    expected = run(trial, whole, tmp_path / "whole.pt")
    reporter = Recorder()
    interrupt(trial, reporter, tmp_path / "c.pt", after_batches=4)
    weights.unlink()
    assert_same_weights(run(trial, reporter, tmp_path / "c.pt"), expected)
    assert reporter.values() == whole.values()


def test_a_stop_keeps_the_weights_of_the_epoch_that_counts(tmp_path: Path) -> None:
    worst_last = Objective(("val_loss",), ("maximize",))  # epoch 1 counts
    trial = config(learning_rate=0.01)
    expected = run(trial, Recorder(), tmp_path / "whole.pt", objective=worst_last)
    for n_batches in (14 + 7, 14 + 12, 28 + 3):
        checkpoint, reporter = tmp_path / f"{n_batches}.pt", Recorder()
        interrupt(trial, reporter, checkpoint, after_batches=n_batches, objective=worst_last)
        assert_same_weights(run(trial, reporter, checkpoint, objective=worst_last), expected)


@pytest.mark.parametrize("n_batches", [14 + 7, 14 + 12])
def test_an_interrupted_epoch_is_reported_once_when_it_is_whole(
    n_batches: int, tmp_path: Path
) -> None:
    reporter = Recorder(n_batches=n_batches)
    with pytest.raises(TrialInterrupted, match=r"^stopped in epoch 2$"):
        run(config(), reporter, tmp_path / "c.pt")
    assert reporter.heard == [1]
    resumed = Recorder()
    run(config(), resumed, tmp_path / "c.pt")
    assert resumed.heard == [1, 2, 3]


def test_the_batch_is_finished_and_no_other_is_begun(tmp_path: Path) -> None:
    interrupt(config(), Recorder(), tmp_path / "c.pt", after_batches=14 + 7)
    state = load_checkpoint(tmp_path / "c.pt")
    assert state is not None
    assert state["learner"]["steps"] == 10 + 7
    assert (state["totals"]["n_batches"], state["totals"]["n_samples"]) == (7, 7 * 32)
    assert len(state["history"]) == 1


def test_a_checkpoint_keeps_the_names_that_begun_trials_have_on_disk(tmp_path: Path) -> None:
    interrupt(config(), Recorder(), tmp_path / "c.pt", after_batches=14 + 7)
    state = load_checkpoint(tmp_path / "c.pt")
    assert state is not None
    assert list(state) == [
        *("learner", "rng", "shuffle", "history", "best_weights", "totals", "seconds"),
    ]
    assert list(state["learner"]) == ["model", "optimizer", "steps"]
    assert list(state["learner"]["optimizer"]) == ["state"]
    assert list(state["rng"]) == ["python", "numpy", "torch"]
    assert list(state["history"][0]) == ["epoch", "values", "time_s"]
    assert list(state["totals"]) == ["loss", "n_samples", "n_batches"]


def test_a_stop_after_the_last_batch_of_all_does_not_interrupt(tmp_path: Path) -> None:
    reporter = Recorder(n_batches=3 * 14 + 1)
    run(config(), reporter, tmp_path / "c.pt")
    assert len(reporter.history) == 3


def test_the_seconds_of_an_epoch_add_up_over_its_processes(tmp_path: Path) -> None:
    checkpoint, reporter = tmp_path / "c.pt", Recorder()
    interrupt(config(), reporter, checkpoint, after_batches=14 + 7)
    state = load_checkpoint(checkpoint)
    assert state is not None
    assert state["seconds"] > 0
    save_checkpoint(checkpoint, {**state, "seconds": 1000.0})
    interrupt(config(), reporter, checkpoint, after_batches=1)
    run(config(), reporter, checkpoint)
    seconds = [metrics.values["epoch_seconds"] for metrics in reporter.history]
    assert [value > 1000 for value in seconds] == [False, True, False]


def test_a_damaged_checkpoint_starts_the_trial_over_with_the_same_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = config()
    whole = Recorder()
    expected = run(trial, whole, tmp_path / "whole.pt")
    checkpoint, reporter = tmp_path / "c.pt", Recorder()
    interrupt(trial, reporter, checkpoint, after_batches=14 + 7)
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])

    assert_same_weights(run(trial, reporter, checkpoint), expected)
    assert reporter.heard == [1, 1, 2, 3]
    assert reporter.values() == whole.values()
    assert_same_checkpoint(checkpoint, tmp_path / "whole.pt")
    assert (tmp_path / "c.pt.broken").read_bytes() == content[: len(content) // 2]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"{checkpoint}: its checksum is wrong" in record.getMessage()
    assert "starts over" in record.getMessage()


def test_what_the_reporter_missed_is_reported_again(tmp_path: Path) -> None:
    trial = config()
    with pytest.raises(TrialInterrupted):
        run(trial, Recorder(2, TrialInterrupted), tmp_path / "c.pt")
    reporter = Recorder()
    run(trial, reporter, tmp_path / "c.pt")
    assert [metrics.epoch for metrics in reporter.history] == [1, 2, 3]


def test_a_trial_that_had_ended_trains_no_more_and_gives_its_weights_again(
    tmp_path: Path,
) -> None:
    trial = config()
    expected = run(trial, Recorder(), tmp_path / "c.pt")
    written = (tmp_path / "c.pt").stat().st_mtime_ns
    again = Recorder()
    assert_same_weights(run(trial, again, tmp_path / "c.pt"), expected)
    assert len(again.history) == 3
    assert (tmp_path / "c.pt").stat().st_mtime_ns == written


class Counter(nn.Linear):
    """Counts the batches that it trains on, in its state_dict."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.n_batches = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.n_batches += self.training
        return super().forward(inputs.flatten(1))

    def get_extra_state(self) -> dict[str, int]:
        return {"n": self.n_batches}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.n_batches = state["n"]


def build_counter(input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    return Counter()


@pytest.mark.parametrize("n_batches", [15, 25])
def test_what_a_module_keeps_beside_its_tensors_is_there_again(
    tmp_path: Path, n_batches: int
) -> None:
    trial = config({"architecture": f"{__name__}:build_counter"}, epochs=4)
    whole = run(trial, Recorder(), tmp_path / "whole.pt", objective=FALLING)
    with pytest.raises(TrialInterrupted):
        run(trial, Recorder(n_batches=n_batches), tmp_path / "c.pt", objective=FALLING)
    resumed = run(trial, Recorder(), tmp_path / "c.pt", objective=FALLING)
    assert resumed["_extra_state"] == whole["_extra_state"] == {"n": 4 * 10}


@pytest.mark.parametrize("resumed", [False, True])
def test_the_weights_are_those_of_the_epoch_that_counts(tmp_path: Path, resumed: bool) -> None:
    worst_last = Objective(("val_loss",), ("maximize",))
    trial = config(epochs=4, learning_rate=0.01)
    reporter = Recorder(3 if resumed else None, TrialInterrupted)
    if resumed:
        with pytest.raises(TrialInterrupted):
            run(trial, reporter, tmp_path / "c.pt", objective=worst_last)
    weights = run(trial, reporter, tmp_path / "c.pt", objective=worst_last)
    best = worst_last.best(reporter.history)
    assert best is not None
    assert best.epoch == 1
    model = build_model("mlp", (1, 8, 8), 10, **MLP["params"])
    model.load_state_dict(weights)
    model.eval()
    hits = [
        (model(inputs).argmax(1) == targets).float().mean()
        for inputs, targets in digits().validation.batches(100)
    ]
    assert hits[0].item() == pytest.approx(best.values["val_accuracy"], abs=1e-6)
    assert best.values["val_accuracy"] != reporter.history[-1].values["val_accuracy"]


def test_patience_ends_a_trial_that_no_longer_improves(tmp_path: Path) -> None:
    rising = Objective(("val_loss",), ("maximize",))  # so that epoch 1 stays the best
    reporter = Recorder()
    run(config(epochs=9, patience=2), reporter, tmp_path / "c.pt", objective=rising)
    assert len(reporter.history) == 3
    falling = Recorder()
    run(config(epochs=5, patience=1), falling, tmp_path / "d.pt", objective=LOSS)
    assert len(falling.history) == 5


def test_patience_looks_at_the_first_of_several_objectives(tmp_path: Path) -> None:
    both = Objective(("val_loss", "val_accuracy"), ("maximize", "maximize"))
    reporter = Recorder()
    run(config(epochs=9, patience=2), reporter, tmp_path / "c.pt", objective=both)
    assert len(reporter.history) == 3


def test_the_checkpoint_is_there_before_the_report(tmp_path: Path) -> None:
    reporter = Recorder(1, TrialPruned)
    with pytest.raises(TrialPruned):
        run(config(), reporter, tmp_path / "deep" / "c.pt")
    assert (tmp_path / "deep" / "c.pt").exists()


class Timed(Recorder):
    """An epoch takes three seconds of a clock; notes how many epochs the checkpoint has then."""

    def __init__(self, clock: Clock, checkpoint: Path) -> None:
        super().__init__()
        self.saved: list[int] = []
        self._clock = clock
        self._checkpoint = checkpoint

    def report(self, metrics: EpochMetrics) -> None:
        super().report(metrics)
        saved = load_checkpoint(self._checkpoint)
        self.saved.append(len(saved["history"]) if saved else 0)
        self._clock.now_s += 3


def test_checkpoints_are_no_nearer_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("sweeper.training.loop.time.monotonic", clock)
    for every_s, saved in ((0, [1, 2, 3, 4, 5]), (5, [0, 0, 3, 3, 5]), (99, [0, 0, 0, 0, 0])):
        checkpoint = tmp_path / f"{every_s}.pt"
        reporter = Timed(clock, checkpoint)
        run(config(epochs=5), reporter, checkpoint, save_every_s=every_s)
        assert reporter.saved == saved


@pytest.mark.parametrize("n_batches", [6, 14, 14 + 7, 28 + 11])
def test_a_stop_between_two_checkpoints_makes_one(n_batches: int, tmp_path: Path) -> None:
    trial, whole, reporter = config(), Recorder(), Recorder()
    expected = run(trial, whole, tmp_path / "whole.pt")
    late: dict[str, Any] = {"save_every_s": 99}
    interrupt(trial, reporter, tmp_path / "c.pt", after_batches=n_batches, **late)
    assert_same_weights(run(trial, reporter, tmp_path / "c.pt", **late), expected)
    assert reporter.values() == whole.values()


def test_a_stop_after_a_report_between_two_checkpoints_makes_one(tmp_path: Path) -> None:
    reporter = Recorder(2, TrialInterrupted)
    with pytest.raises(TrialInterrupted):
        run(config(), reporter, tmp_path / "c.pt", save_every_s=99)
    saved = load_checkpoint(tmp_path / "c.pt")
    assert saved is not None
    assert [epoch["epoch"] for epoch in saved["history"]] == [1, 2]


@pytest.mark.parametrize("stopped", [None, 14 + 7], ids=["no checkpoint", "a checkpoint"])
def test_epochs_reported_since_the_checkpoint_are_done_again_and_told_once(
    stopped: int | None, tmp_path: Path
) -> None:
    trial, whole = config(epochs=5), Recorder()
    expected = run(trial, whole, tmp_path / "whole.pt")
    reporter = Dying(4)
    if stopped:
        interrupt(trial, reporter, tmp_path / "c.pt", after_batches=stopped)
    with pytest.raises(Death):
        run(trial, reporter, tmp_path / "c.pt", save_every_s=99)
    reported, reporter.epoch = list(reporter.history), 0
    assert [metrics.epoch for metrics in reported] == [1, 2, 3]
    assert_same_weights(run(trial, reporter, tmp_path / "c.pt", save_every_s=99), expected)
    assert reporter.values() == whole.values()
    assert reporter.history[:3] == reported


def test_an_epoch_that_is_done_again_counts_as_it_was_reported(tmp_path: Path) -> None:
    """Where the same batches do not give the same numbers, as on a GPU."""
    trial, reporter = config(epochs=9, patience=2, learning_rate=0.01), Dying(3)
    with pytest.raises(Death):
        run(trial, reporter, tmp_path / "c.pt", save_every_s=99)
    first, second = reporter.history
    reporter.history[0] = replace(first, values={**first.values, "val_accuracy": 1.0})
    reporter.epoch = 0
    weights = run(trial, reporter, tmp_path / "c.pt", save_every_s=99)
    assert [metrics.epoch for metrics in reporter.history] == [1, 2, 3]
    assert reporter.history[1] == second
    one = config(epochs=1, learning_rate=0.01)
    assert_same_weights(weights, run(one, Recorder(), tmp_path / "one.pt"))


class Overtaken(Recorder):
    """Of a trial that another process took over."""

    def require_ownership(self) -> None:
        raise TrialLost("it is another's now")


def test_a_trial_that_was_taken_over_keeps_the_other_ones_checkpoint(tmp_path: Path) -> None:
    checkpoint, reporter = tmp_path / "c.pt", Overtaken()
    with pytest.raises(TrialPruned):
        run(config(), Recorder(1, TrialPruned), checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(TrialLost):
        run(config(), reporter, checkpoint)
    assert checkpoint.read_bytes() == before
    assert reporter.heard == [1], "as the checkpoint says, and no epoch of its own"


def test_a_cosine_ends_at_the_last_update_of_the_last_epoch(tmp_path: Path) -> None:
    reporter = Recorder()
    run(config(learning_rate=1.0, schedule="cosine"), reporter, tmp_path / "c.pt")
    # 30 updates: (1 + cos(29 / 30 * pi)) / 2
    assert reporter.history[-1].values["learning_rate"] == pytest.approx(0.002739, abs=1e-6)


def test_a_loss_that_is_not_finite_is_reported_as_it_is(tmp_path: Path) -> None:
    reporter = Recorder()
    run(config(epochs=1, optimizer="sgd", learning_rate=1e30), reporter, tmp_path / "c.pt")
    loss = reporter.history[0].values["train_loss"]
    assert loss != loss or loss == float("inf")


def test_after_every_batch_it_says_how_far_the_epoch_is(tmp_path: Path) -> None:
    # 300 rows to train on and 100 to evaluate, 32 at a time: ten batches, and four.
    whole = Recorder()
    run(config(epochs=2), whole, tmp_path / "checkpoint.pt")
    assert whole.progress == [(epoch, n / 14) for epoch in (1, 2) for n in range(1, 15)]


def test_an_epoch_that_is_gone_on_with_is_as_far_as_it_was(tmp_path: Path) -> None:
    settings, checkpoint = config(epochs=1), tmp_path / "checkpoint.pt"
    with pytest.raises(TrialInterrupted):
        run(settings, Recorder(n_batches=3), checkpoint)
    resumed = Recorder()
    run(settings, resumed, checkpoint)
    assert resumed.progress == [(1, n / 14) for n in range(4, 15)]
