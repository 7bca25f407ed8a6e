"""Captured programs compute what each trial alone computes, whatever recurs and whatever does not.

On a CPU they are captured on a tape, which keeps to what CUDA graphs can do.
"""

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sweeper.config.settings import ModelConfig
from sweeper.data.dataset import TrialData
from sweeper.models.dropout import drawing_by
from sweeper.training.packed.capture import CudaCapture, _end_allocation
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.rows import Rows
from tests.support.captured_trials import Twin, train_twins
from tests.support.paired_trials import CPU, rows_of
from tests.support.tape import TapeCapture
from tests.training.packed.test_pack import AVERAGED, MEMBERS, OPTIMIZERS, Large, mlp

CUDA = torch.device("cuda:0")
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
DATA = rows_of()
CAPTURED = [own for own in MEMBERS if "accumulate" not in own]


class CountedCapture(CudaCapture):
    """Counts as a tape does."""

    def __init__(self) -> None:
        super().__init__(CUDA)
        self.n_captured = 0
        self.n_replayed = 0

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        play = super().capture(body)
        self.n_captured += 1

        def replay() -> None:
            self.n_replayed += 1
            play()

        return replay


@dataclass(frozen=True)
class Place:
    """Where programs are captured."""

    device: torch.device
    capture: TapeCapture | CountedCapture

    def twin(self, pack: Pack, data: TrialData = DATA, *arguments: Any, **named: Any) -> Twin:
        return Twin(pack, data, *arguments, device=self.device, **named)


@pytest.fixture(autouse=True)
def keys_are_forgotten() -> Iterator[None]:
    with drawing_by(None):
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=needs_gpu)])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "cpu":
        return Place(CPU, TapeCapture())
    return Place(CUDA, CountedCapture())


@pytest.mark.parametrize(("name", "ema"), AVERAGED)
def test_every_optimiser_with_every_penalty_and_schedule(
    place: Place, name: str, ema: float
) -> None:
    pack = Pack(pytest.fail, place.capture)
    twins = [
        place.twin(pack, settings={**OPTIMIZERS[name], **own, "ema": ema}, seed=seed)
        for seed, own in enumerate(CAPTURED)
    ]
    train_twins([pack], twins, 4)
    for twin in twins:
        twin.check()
    # The first three batches of each form are computed: of 4 and 1 an epoch, both passes.
    assert (place.capture.n_captured, place.capture.n_replayed) == (4, 2 * (4 * 5 - 6))


def test_activations_dropout_and_batch_norm_are_those_of_each(place: Place) -> None:
    pack = Pack(pytest.fail, place.capture)
    kinds = [("relu", 0.1), ("tanh", 0.5), ("gelu", 0.3), ("relu", 0.9), ("elu", 0.2)]
    twins = [
        place.twin(
            pack, DATA, mlp(activation=name, dropout=p, batch_norm=True, depth=2), seed=seed
        )
        for seed, (name, p) in enumerate(kinds)
    ]
    train_twins([pack], twins, 3)
    for twin in twins:
        twin.check()
    assert place.capture.n_replayed


def test_each_is_at_its_own_point_of_its_epoch(place: Place) -> None:
    pack = Pack(pytest.fail, place.capture)
    model = mlp(dropout=0.3, batch_norm=True)
    settings = {"optimizer": "adamw", "ema": 0.9, "l1": 0.01}
    twins = [place.twin(pack, DATA, model, settings, seed=seed) for seed in range(4)]
    for twin in twins:
        twin.member._stride = lambda: 2
    train_twins([pack], twins, 4, delay=2)
    for twin in twins:
        twin.check()
    assert place.capture.n_replayed


def test_a_stretch_is_no_longer_than_a_stop_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = TapeCapture()
    pack = Pack(pytest.fail, tape, is_single=True)
    twin = Twin(pack, DATA)
    strides = [twin.member.stride]
    monkeypatch.setattr(TapeCapture, "latest_s", 0.0)  # nothing is done yet
    train_twins([pack], [twin], 1)
    assert twin.member.stride == strides[0]
    for seconds in [0.01] * 5 + [0.3] * 7 + [0.2, 0.01]:
        monkeypatch.setattr(TapeCapture, "latest_s", seconds)
        train_twins([pack], [twin], 1)
        strides.append(twin.member.stride)
    assert (strides[0], strides[5]) == (4, 32)
    assert strides[-3:] == [1, 1, 16]  # it grows with each stretch that is done
    twin.check()


def test_one_leaves_and_another_comes_while_the_rest_goes_on(place: Place) -> None:
    pack = Pack(pytest.fail, place.capture)
    twins = [place.twin(pack, settings={"optimizer": "adam"}, seed=seed) for seed in range(3)]
    train_twins([pack], twins, 2)
    pack.leave(twins.pop(1).member)
    twins.append(place.twin(pack, DATA, mlp(activation="tanh"), {"optimizer": "adam"}, seed=7))
    before = place.capture.n_captured
    train_twins([pack], twins, 2)
    for twin in twins:
        twin.check()
    assert place.capture.n_captured > before


@pytest.mark.parametrize(
    ("model", "ema"),
    [
        (mlp(dropout=0.3, batch_norm=True), 0.9),
        (ModelConfig(architecture="cnn", params={"channels": 4, "depth": 1, "dropout": 0.3}), 0.0),
    ],
    ids=["mlp", "cnn"],
)
def test_one_by_itself_draws_and_averages_within_the_program(
    place: Place, model: ModelConfig, ema: float
) -> None:
    packs = [Pack(pytest.fail, place.capture, is_single=True) for _ in range(2)]
    settings = {"optimizer": "adamw", "l2": 0.1, "clip_grad_norm": 0.5, "ema": ema}
    data = rows_of((1, 4, 4))
    twins = [place.twin(pack, data, model, settings, seed=seed) for seed, pack in enumerate(packs)]
    train_twins(packs, twins, 3, delay=3)
    for twin in twins:
        twin.check()
    assert place.capture.n_replayed


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_recurrent_networks_are_captured_one_by_one(place: Place, name: str) -> None:
    pack = Pack(pytest.fail, place.capture, is_single=True)
    model = ModelConfig(architecture="rnn", params={"cell": name, "width": 4})
    twin = place.twin(pack, rows_of((4, 7)), model)
    train_twins([pack], [twin], 2)
    twin.check()
    assert place.capture.n_replayed


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_every_task(place: Place, task: Any) -> None:
    pack = Pack(pytest.fail, place.capture)
    data = rows_of(task=task)
    twins = [place.twin(pack, data, settings={"l2": 0.1 * seed}, seed=seed) for seed in range(2)]
    train_twins([pack], twins, 3)
    for twin in twins:
        twin.check()
    assert place.capture.n_replayed


@pytest.mark.parametrize("is_captured", [False, True])
def test_who_diverges_leaves_the_others_as_they_are_bit_for_bit(
    place: Place, is_captured: bool
) -> None:
    def trained(rate: float) -> list[dict[str, Tensor]]:
        pack = Pack(pytest.fail, place.capture if is_captured else None)
        twins = [
            place.twin(pack, settings={"learning_rate": each}, seed=seed)
            for seed, each in enumerate([0.05, rate, 0.05])
        ]
        train_twins([pack], twins, 2)
        return [twin.member.weights() for twin in twins]

    calm, wild = trained(0.05), trained(1e200)
    assert not all(value.isfinite().all() for value in wild[1].values())
    for number in (0, 2):
        torch.testing.assert_close(wild[number], calm[number], rtol=0, atol=0)


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_gpu)], ids=["cpu", "cuda"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_where_nothing_captures_batches_are_computed_one_at_a_time(
    name: str, device: torch.device
) -> None:
    pack, data = Pack(pytest.fail), rows_of((1, 4, 4))
    kinds = [("relu", 0.1), ("tanh", 0.5), ("gelu", 0.3), ("relu", 0.9)]
    twins = [
        Twin(
            pack,
            data,
            mlp(activation=kind, dropout=p, batch_norm=True),
            {**OPTIMIZERS[name], "accumulate": 2, "l1": 0.01 * seed, "clip_grad_norm": 1.0},
            seed=seed,
            device=device,
        )
        for seed, (kind, p) in enumerate(kinds)
    ]
    train_twins([pack], twins, 4)
    for twin in twins:
        twin.check()


def test_for_whom_there_is_no_memory_at_once_there_is_one_by_one(place: Place) -> None:
    told: list[str] = []
    pack = Pack(told.append, place.capture)
    twins = [place.twin(pack, DATA, Large(), seed=seed) for seed in range(4)]
    train_twins([pack], twins, 2)
    for twin in twins:
        twin.check()
    assert [line.partition(";")[0] for line in told] == [
        "run.pack: the device has not enough memory for 4 trials of this kind at once"
    ]


class Asks(nn.Module):
    """Needs a number on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.linear(inputs)
        return outputs * (1.0 + outputs.detach().abs().max().item())


def test_what_no_graph_can_hold_is_computed_operator_by_operator(place: Place) -> None:
    told: list[str] = []
    pack = Pack(told.append, place.capture, is_single=True)
    twin = place.twin(pack, DATA, Asks())
    train_twins([pack], [twin], 2)
    twin.check()
    assert not place.capture.n_captured
    assert all(
        line.startswith("no CUDA graph, so computed operator by operator: ") for line in told
    )


def test_what_fails_while_members_change_fails_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    pack = Pack(pytest.fail, TapeCapture())  # who would be told of halves, which are not tried
    twins = [Twin(pack, DATA, seed=seed) for seed in range(2)]
    monkeypatch.setattr(Rows, "update", refuse)
    for twin in twins:
        next(twin.train(1))
    pack.step()
    for twin in twins:
        with pytest.raises(torch.OutOfMemoryError):
            twin.member.weights()


class Short(TapeCapture):
    """A device whose memory is taken: by what torch has cached, or by others."""

    def __init__(self, *, is_cached: bool) -> None:
        super().__init__()
        self.n_attempts = 0
        self._is_short = True
        self._is_cached = is_cached

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        self.n_attempts += 1

        def grasping() -> None:
            body()
            if self._is_short:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")

        return super().capture(grasping)

    def give_back(self) -> None:
        self._is_short = not self._is_cached


@pytest.mark.parametrize("is_single", [False, True])
@pytest.mark.parametrize("is_cached", [False, True])
def test_where_memory_is_short_a_program_is_captured_once_some_is_given_back(
    is_cached: bool, is_single: bool
) -> None:
    told: list[str] = []
    capture = Short(is_cached=is_cached)
    pack = Pack(told.append, capture, is_single=is_single)
    twin = Twin(pack, DATA)
    train_twins([pack], [twin], 4)
    twin.check()
    if is_cached:  # there are batches of two forms, in both passes
        assert (told, capture.n_attempts, capture.n_captured) == ([], 5, 4)
    else:
        reason = "CUDA out of memory. Tried to allocate 2 GiB."
        assert set(told) == {f"no CUDA graph, so computed operator by operator: {reason}"}
        assert (capture.n_attempts, capture.n_captured) == (2 * len(told), 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_after_a_capture_that_failed_others_draw_and_are_captured() -> None:
    capture, sums = CudaCapture(CUDA), torch.zeros(4, device=CUDA)

    def ask() -> None:
        sums.fill_(sums.sum().item())

    def count() -> None:
        sums.add_(torch.ones_like(sums))

    for n in range(1, 3):
        with capture.running(), pytest.raises(RuntimeError):
            capture.capture(ask)
        assert torch.rand(3, device=CUDA).unique().numel() == 3
        with capture.running():
            capture.capture(count)()
        capture.wait()
        assert sums.tolist() == [n] * 4


@pytest.mark.parametrize(
    "name", ["_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool"]
)
def test_a_pool_is_ended_by_whatever_torch_calls_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[int, str]] = []
    monkeypatch.delattr(torch._C, "_cuda_endAllocateToPool", raising=False)
    monkeypatch.setattr(torch._C, name, lambda *args: ended.append(args), raising=False)
    _end_allocation(1, "pool")
    assert ended == [(1, "pool")]


#: What torch says of a checkpoint that is computed again by a backward pass of its own.
INCOMPATIBLE = (
    "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an "
    "`inputs` parameter to .backward(). To resolve this error, you can either set "
    "use_reentrant=False, or call .backward() without passing the `inputs` argument."
)


class Own(nn.Module):
    """A network with a quirk.

    Args:
        quirk: What its forward pass does beside computing.
    """

    mean: Tensor

    def __init__(self, quirk: str) -> None:
        super().__init__()
        self.linear, self.other = nn.Linear(6, 3), nn.Linear(6, 3)
        self.dropout = nn.Dropout(0.3 if quirk == "drops" else 0.0)
        self.quirk = quirk
        self.n_calls = [0]
        self.latest: Tensor | None = None
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.quirk == "counts" and self.training:
            self.n_calls[0] += 1
            inputs = inputs if self.n_calls[0] < 9 else 2 * inputs
        elif self.quirk == "keeps":
            before, self.latest = self.latest, inputs
            inputs = inputs if before is None or len(before) != len(inputs) else inputs + before
        elif self.quirk == "replaces" and self.training:
            self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
            inputs = inputs - self.mean
        elif self.quirk == "measures by":
            if self.training:
                self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
            inputs = inputs - self.mean
        elif self.quirk == "leaves out" and self.training:
            self.mean.lerp_(inputs.detach().mean(0), 0.1)
        elif self.quirk == "asks":
            inputs = inputs[inputs.sum(1) > -1e9]
        elif self.quirk == "draws" and random.random() < 0.5:
            inputs = 2 * inputs
        outputs: Tensor = self.dropout(self.linear(inputs))
        if self.quirk == "computes again" and self.training:
            outputs = checkpoint(torch.tanh, outputs, use_reentrant=True)
        return outputs if self.quirk == "leaves out" else outputs + self.other(inputs)


@pytest.mark.parametrize(
    ("quirk", "reason"),
    [
        ("", ""),
        ("drops", ""),
        ("counts", "its forward pass changes n_calls"),
        ("keeps", "its forward pass changes latest"),
        ("replaces", "its forward pass changes mean"),
        ("measures by", "its forward pass changes mean"),
        ("asks", "its forward pass needs the host for aten.index"),
        ("draws", "its forward pass draws random numbers, and not by nn.Dropout"),
        ("leaves out", "not all of its parameters are used in each batch"),
        ("computes again", INCOMPATIBLE),
    ],
)
def test_a_network_of_ones_own_is_captured_if_it_does_the_same_in_each_batch(
    place: Place, quirk: str, reason: str
) -> None:
    told: list[str] = []
    pack = Pack(told.append, place.capture, is_single=True, is_own=True)
    twin = place.twin(pack, DATA, Own(quirk), own_code=True)
    train_twins([pack], [twin], 4)
    twin.check()
    n_trained = 3 * 5 - 2 * 3  # replayed, of batches of two forms
    assert place.capture.n_replayed >= (0 if reason else n_trained)
    prefix = "no CUDA graph, so computed operator by operator: "
    assert set(told) == ({prefix + reason} if reason else set())


def test_programs_are_given_back_once_a_member_leaves(place: Place) -> None:
    pack = Pack(pytest.fail, place.capture)
    twins = [place.twin(pack, seed=seed) for seed in range(2)]
    train_twins([pack], twins, 2)
    assert pack._layout
    programs = weakref.WeakSet(pack._layout._captured.values())
    assert programs
    gc.disable()  # as it knows nothing of a device's memory
    try:
        pack.leave(twins[0].member)
        assert not programs
    finally:
        gc.enable()


def test_rows_are_laid_before_another_stream_is_the_current_one() -> None:
    parameters: list[nn.Parameter] = []
    laid: list[int] = []

    class Noting(TapeCapture):
        @contextmanager
        def running(self) -> Iterator[None]:
            laid.append(parameters[0].data_ptr())
            yield

    pack = Pack(pytest.fail, Noting())
    twin = Twin(pack, DATA)
    parameters += twin.member.alone.parameters
    train_twins([pack], [twin], 1)
    assert set(laid) == {parameters[0].data_ptr()}


class Explodes(nn.Module):
    """Raises in the second batch that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)
        self.n_seen = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.n_seen += self.training
        if self.n_seen == 2:
            raise ValueError("the second batch")
        outputs: Tensor = self.linear(inputs)
        return outputs


def test_what_a_model_raises_its_member_raises(place: Place) -> None:
    pack = Pack(pytest.fail, place.capture, is_single=True)
    twin = place.twin(pack, DATA, Explodes())
    twin.alone.model.n_seen = 99  # type: ignore[assignment]
    with pytest.raises(ValueError, match="the second batch"):
        train_twins([pack], [twin], 1)
