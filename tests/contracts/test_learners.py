"""What every learner promises, however it does the work of a batch."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.models.dropout import drawing_by
from sweeper.timing import TimeLedger
from sweeper.training.build import build_learner
from sweeper.training.learner import EpochTotals, Learner, Runtime
from sweeper.training.packed.packs import Packs
from sweeper.training.seed import BatchSeeds
from sweeper.training.stretch import Stretch
from sweeper.trial import DataInfo
from tests.support.tape import TapeCapture

CPU = torch.device("cpu")
N_ROWS, N_CLASSES, SHAPE = 59, 3, (1, 8, 8)

MODELS: Mapping[str, ModelConfig] = {
    "mlp": ModelConfig(
        architecture="mlp", params={"width": 8, "batch_norm": True, "dropout": 0.3}
    ),
    "cnn": ModelConfig(
        architecture="cnn", params={"channels": 4, "batch_norm": True, "dropout": 0.3}
    ),
}
SETTINGS: Mapping[str, dict[str, Any]] = {
    "sgd-cosine": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "cosine"},
    "adamw-l2-clip": {"optimizer": "adamw", "l2": 0.1, "clip_grad_norm": 0.5},
    "rmsprop-l1": {"optimizer": "rmsprop", "l1": 0.01},
    "adam-accumulated-averaged": {"optimizer": "adam", "accumulate": 3, "ema": 0.9},
}
#: What an optimiser does is the same for whatever network.
TRIALS = [("cnn" if name == "adamw-l2-clip" else "mlp", name) for name in SETTINGS]


@dataclass(frozen=True)
class Maker:
    """One way to do the work.

    Attributes:
        build: The learner of a trial.
        work: Does what learners were given, wherever that is not done at once.
    """

    build: Callable[[TrialConfig, TrialData], Learner]
    work: Callable[[], None]


def make_eager() -> Maker:
    return Maker(lambda config, data: build_learner(config, data, Runtime(CPU)), lambda: None)


def make_packed(size: int, tape: TapeCapture | None = None) -> Maker:
    packs = Packs(size, print, None if tape is None else lambda: tape)

    def step() -> None:
        for pack in packs.at_work:
            pack.step()

    return Maker(lambda config, data: packs.build(config, data, Runtime(CPU)), step)


MAKERS: Mapping[str, Callable[[], Maker]] = {
    "eager": make_eager,
    "packed": lambda: make_packed(4),
    "captured": lambda: make_packed(1, TapeCapture()),
    "captured-packed": lambda: make_packed(4, TapeCapture()),
}


def rows() -> TrialData:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(N_ROWS) % N_CLASSES
    centres = torch.randn(N_CLASSES, *SHAPE, generator=generator)
    inputs = centres[targets] + 0.3 * torch.randn(N_ROWS, *SHAPE, generator=generator)
    info = DataInfo("blobs", "0" * 16, SHAPE, N_CLASSES, n_train=N_ROWS, n_validation=N_ROWS)
    split = ResidentSplit(inputs, targets, torch.arange(N_ROWS), None)
    return TrialData(info, split, split)


DATA = rows()
SEEDS = BatchSeeds(3, CPU, has_own_code=False, has_keys=True)
N_BATCHES = 8  # of 8 rows, but for the last


class Trial:
    """Learners of one trial, all of one way, of which each begins alike."""

    def __init__(self, maker: Maker, model: ModelConfig, settings: Mapping[str, Any]) -> None:
        self._maker = maker
        train = TrainConfig(epochs=3, learning_rate=0.01, **settings)
        data = DataConfig(name="blobs", batch_size=8)
        self._config = TrialConfig(params={}, data=data, model=model, train=train, seed=0)

    def build(self) -> Learner:
        torch.manual_seed(1)
        return self._maker.build(self._config, DATA)

    def resume(self, state: dict[str, Any], totals: EpochTotals | None = None) -> Learner:
        """Another process goes on with what a checkpoint holds."""
        state, totals = copy.deepcopy((state, totals))
        torch.manual_seed(2)
        learner = self._maker.build(self._config, DATA)
        learner.load_state_dict(state)
        learner.totals = totals or EpochTotals()
        return learner

    def train(self, learner: Learner, n_done: int = 0, n_batches: int = N_BATCHES) -> None:
        """Batches of a pass of which others are done, with draws that hang on their numbers."""
        self._give(learner.train, learner.stride, n_done, n_batches, SEEDS)

    def _give(
        self,
        take: Callable[[Stretch], None],
        stride: int,
        n_done: int,
        n_batches: int,
        seeds: BatchSeeds | None,
    ) -> None:
        batches = DATA.train.batches(8, skip=n_done)
        while n_batches and batches.n_left:
            n = min(stride, n_batches, batches.n_left)
            take(Stretch(batches, n, ledger=TimeLedger(), seeds=seeds, number=n_done))
            self._maker.work()
            n_done, n_batches = n_done + n, n_batches - n

    def train_epoch(self, learner: Learner) -> float:
        learner.totals = EpochTotals()
        self.train(learner)
        return learner.end_training()

    def evaluate(self, learner: Learner) -> tuple[float, Mapping[str, float]]:
        self.evaluate_batches(learner, N_BATCHES)
        return learner.end_evaluation()

    def evaluate_batches(self, learner: Learner, n_batches: int) -> None:
        self._give(learner.evaluate, learner.stride, 0, n_batches, None)


@pytest.fixture(autouse=True)
def keys_are_forgotten() -> Iterator[None]:
    with drawing_by(None):
        yield


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]()


@pytest.fixture(params=TRIALS, ids="-".join)
def trial(maker: Maker, request: pytest.FixtureRequest) -> Trial:
    model, settings = request.param
    return Trial(maker, MODELS[model], SETTINGS[settings])


@pytest.fixture
def one_trial(maker: Maker) -> Trial:
    return Trial(maker, MODELS["mlp"], SETTINGS["adam-accumulated-averaged"])


def assert_same_weights(first: Learner, second: Learner) -> None:
    one, other = first.weights(), second.weights()
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_learns(trial: Trial) -> None:
    learner = trial.build()
    before, _ = trial.evaluate(learner)
    for _ in range(3):
        trial.train_epoch(learner)
    after, measured = trial.evaluate(learner)
    assert after < before
    assert measured["val_accuracy"] > 0.5


def test_an_epoch_goes_on_bit_for_bit_wherever_it_was_cut(trial: Trial) -> None:
    whole = trial.build()
    trial.train_epoch(whole)
    trial.evaluate(whole)
    begun = whole.state_dict()
    expected = trial.resume(begun)
    loss, measured = trial.train_epoch(expected), trial.evaluate(expected)
    for n_done in (0, 2, 3, 6, N_BATCHES):  # three batches are an update at most
        first = trial.resume(begun)
        trial.train(first, 0, n_done)
        second = trial.resume(first.state_dict(), first.totals)
        assert second.totals.n_batches == n_done
        trial.train(second, n_done)
        # How a sum over weights rounds hangs on where they lie in memory.
        assert second.end_training() == pytest.approx(loss, rel=1e-6)
        assert trial.evaluate(second) == measured
        assert second.totals.n_samples == N_ROWS
        assert second.learning_rate == expected.learning_rate
        assert_same_weights(second, expected)


def test_the_loss_of_an_epoch_whose_batches_are_done_is_read_again(one_trial: Trial) -> None:
    learner = one_trial.build()
    loss = one_trial.train_epoch(learner)
    other = one_trial.resume(learner.state_dict(), learner.totals)
    assert other.end_training() == learner.end_training() == loss
    assert_same_weights(learner, other)


def test_evaluating_changes_nothing_and_draws_nothing(trial: Trial) -> None:
    learner, twin = trial.build(), trial.build()
    trial.train_epoch(twin)
    learner.totals = EpochTotals()
    trial.train(learner)
    state = torch.get_rng_state()
    first = trial.evaluate(learner)
    assert trial.evaluate(learner) == first
    assert torch.equal(torch.get_rng_state(), state)
    learner.end_training()
    assert_same_weights(learner, twin)


def test_an_evaluation_that_is_cut_is_forgotten(one_trial: Trial) -> None:
    learner = one_trial.build()
    one_trial.train_epoch(learner)
    twin = one_trial.resume(learner.state_dict(), learner.totals)
    one_trial.evaluate_batches(learner, 3)
    other = one_trial.resume(learner.state_dict(), learner.totals)
    assert one_trial.evaluate(learner) == one_trial.evaluate(other) == one_trial.evaluate(twin)
    assert one_trial.train_epoch(learner) == one_trial.train_epoch(twin)
    assert_same_weights(learner, twin)


def test_weights_are_a_copy(one_trial: Trial) -> None:
    learner = one_trial.build()
    copied = learner.weights()
    before = {key: value.clone() for key, value in copied.items()}
    one_trial.train_epoch(learner)
    assert all(torch.equal(before[key], value) for key, value in copied.items())


def test_the_rate_is_that_of_the_last_update(maker: Maker) -> None:
    step = {"schedule": "step", "step_epochs": 1, "step_gamma": 0.5, "optimizer": "sgd"}
    trial = Trial(maker, MODELS["mlp"], step)
    learner = trial.build()
    rates = [learner.learning_rate]
    for _ in range(2):
        trial.train_epoch(learner)
        rates.append(learner.learning_rate)
    assert rates == [0.01, 0.01, 0.005]


def test_a_pass_without_batches_is_refused(one_trial: Trial) -> None:
    learner = one_trial.build()
    with pytest.raises(ValueError, match="an epoch needs at least one batch"):
        learner.end_training()
    with pytest.raises(ValueError, match="an evaluation needs at least one batch"):
        learner.end_evaluation()


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_can_be_captured_is(size: int, name: str) -> None:
    tape = TapeCapture()
    trial = Trial(make_packed(size, tape), MODELS["mlp"], SETTINGS[name])
    learner = trial.build()
    trial.train_epoch(learner)
    trial.evaluate(learner)
    assert tape.n_captured == (0 if "accumulate" in SETTINGS[name] else 2)
