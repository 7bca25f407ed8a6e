import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sweeper.config.architecture_params import ARCHITECTURE_DEFAULTS, ARCHITECTURE_PARAMS
from sweeper.config.settings import ModelConfig
from sweeper.errors import TrainingError
from sweeper.models.build import (
    BUILDERS,
    build_for,
    build_model,
    check_model,
    model_params,
)
from sweeper.models.mlp import build_mlp
from sweeper.trial import DataInfo, Tokens
from tests.support.models import n_parameters, samples


def test_the_builders_take_what_the_study_file_may_set() -> None:
    assert set(BUILDERS) == set(ARCHITECTURE_PARAMS)
    for name, builder in BUILDERS.items():
        keywords = list(inspect.signature(builder).parameters)[2:]
        assert keywords == [key for key in ARCHITECTURE_PARAMS[name] if key != "embed_numbers"]


def test_their_defaults_are_known_without_torch() -> None:
    assert set(BUILDERS) == set(ARCHITECTURE_DEFAULTS)
    for name, defaults in ARCHITECTURE_DEFAULTS.items():
        assert defaults == model_params(name, {})


def test_a_convolving_model_and_what_is_made_of_it_lie_in_channels_last() -> None:
    model = build_model("cnn", (3, 8, 8), 3)
    assert isinstance(weight := next(model.parameters()), torch.Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.zeros_like(weight).stride() == weight.stride()  # an optimiser's state


def test_defaults_are_laid_into_the_params_and_given_ones_stay() -> None:
    assert model_params("mlp", {"width": 7}) == {
        "depth": 2,
        "width": 7,
        "activation": "relu",
        "dropout": 0.0,
        "batch_norm": False,
    }
    assert model_params("resnet18", {"zero_init_residual": True}) == {
        "weights": "none",
        "freeze": "none",
        "zero_init_residual": True,
    }


def test_an_unknown_architecture_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(TrainingError, match="unknown architecture 'resnet19'; did you mean.*18"):
        build_model("resnet19", (3, 32, 32), 10)
    with pytest.raises(
        TrainingError, match="'zzz'; it is none of ours.*'s. Take mlp, cnn, .*a name"
    ):
        build_model("zzz", (3, 32, 32), 10)


def test_a_keyword_that_a_builder_does_not_take_is_refused_with_those_it_takes() -> None:
    with pytest.raises(TrainingError, match="mlp: .*'kernel_size'; it takes depth, width, act"):
        build_model("mlp", (3, 32, 32), 10, kernel_size=3)
    with pytest.raises(TrainingError, match="resnet18 cannot be built.*'activation'; .*groups"):
        build_model("resnet18", samples((3, 32, 32)), 10, activation="relu")


def test_the_same_seed_builds_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model("cnn", (1, 8, 8), 10).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "users_nets_of_test_build"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, n_outputs, *, width=3, note='n', shape=(1, 2)):\n"
        "    return nn.Sequential(nn.Linear(*input_shape, width), nn.Linear(width, n_outputs))\n"
        "def greedy(input_shape, n_outputs, *, widths):\n"
        "    return build(input_shape, n_outputs, width=widths.pop())\n"
        "def forgetful(input_shape, n_outputs):\n"
        "    pass\n"
        "def embed(data, n_outputs, *, width=4):\n"
        "    n_words = data.tokens.n_words\n"
        "    return nn.Sequential(nn.EmbeddingBag(n_words, width), nn.Linear(width, n_outputs))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_users_builder_is_called_and_its_defaults_are_recorded(user_module: str) -> None:
    reference = f"{user_module}:build"
    model = build_model(reference, (4,), 2, width=5)
    check_model(model, (4,), 2)
    assert n_parameters(model) == 4 * 5 + 5 + 5 * 2 + 2
    assert model_params(reference, {"width": 5}) == {"width": 5, "note": "n"}


def test_a_users_builder_that_goes_wrong_is_named(user_module: str) -> None:
    with pytest.raises(TrainingError, match="build: .*'depth'; it takes width, note, shape"):
        build_model(f"{user_module}:build", (4,), 2, depth=5)
    with pytest.raises(TrainingError, match="must return a torch.nn.Module, got NoneType"):
        build_model(f"{user_module}:forgetful", (4,), 2)


@pytest.mark.parametrize("name", ["narrow", "nothing"])
def test_a_builder_of_other_arguments_is_told_what_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "users_nets_of_other_arguments.py").write_text(
        "def narrow(width): ...\ndef nothing(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    wanted = "its first two must be the shape of a sample and the number of outputs"
    with pytest.raises(TrainingError, match=f":{name}: too many positional arguments; {wanted}$"):
        build_model(f"users_nets_of_other_arguments:{name}", (4,), 2)


def test_a_builder_that_asks_for_the_data_is_given_them(user_module: str) -> None:
    info = DataInfo("t", "0" * 16, (6,), 2, 9, 3, input_dtype="int64", tokens=Tokens(12))
    config = ModelConfig(architecture=f"{user_module}:embed", params={"width": 5})
    model = build_for(config, info)
    check_model(model, (6,), 2, torch.int64)
    assert n_parameters(model) == 12 * 5 + 5 * 2 + 2
    assert model_params(config.architecture, {}) == {"width": 4}


def test_a_users_builder_is_given_arguments_of_its_own(user_module: str) -> None:
    widths = [3, 4]
    for _ in range(2):
        build_model(f"{user_module}:greedy", (4,), 2, widths=widths)
    assert widths == [3, 4]


class TwoAnswers(nn.Linear):
    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(batch), batch


class Winner(nn.Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch).long()


def test_a_model_that_does_not_return_logits_is_refused_with_what_came() -> None:
    with pytest.raises(
        TrainingError, match=r"outputs \[B, n_outputs\], here \[2, 3\], got \[2, 4"
    ):
        check_model(nn.Linear(5, 4), (5,), 3)
    with pytest.raises(TrainingError, match="got tuple"):
        check_model(TwoAnswers(5, 3), (5,), 3)
    with pytest.raises(TrainingError, match=r"as floating point, got torch.int64"):
        check_model(Winner(5, 3), (5,), 3)
    with pytest.raises(TrainingError, match="cannot take samples of shape .7.: .*mat1 and mat2"):
        check_model(nn.Linear(5, 3), (7,), 3)
    with pytest.raises(TrainingError, match="no parameter that requires a gradient"):
        check_model(nn.Linear(5, 3).requires_grad_(False), (5,), 3)


class Mistaken(nn.Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch[:, :4])


def test_what_a_users_model_raises_is_told_with_its_line() -> None:
    line = inspect.getsourcelines(Mistaken)[1] + 2
    begin = "model.architecture: Mistaken raised RuntimeError for samples of shape [5]: "
    with pytest.raises(TrainingError, match=f"^{re.escape(begin)}.*mat1 and mat2.*") as caught:
        check_model(Mistaken(5, 3), (5,), 3)
    assert str(caught.value).endswith(f" ({__file__}:{line})")


class IdNet(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))


def test_a_model_is_tried_with_the_dtype_of_the_data() -> None:
    check_model(IdNet(), (5,), 3, torch.int64)
    with pytest.raises(TrainingError, match="IdNet cannot take samples of shape"):
        check_model(IdNet(), (5,), 3)
    with pytest.raises(TrainingError, match="Linear cannot take int64 samples of shape"):
        check_model(nn.Linear(5, 3), (5,), 3, torch.int64)


class Counter(nn.Linear):
    """Counts batches, as torch lets a module keep beside its tensors what it likes."""

    def __init__(self, count: object) -> None:
        super().__init__(5, 3)
        self.count = count

    def get_extra_state(self) -> object:
        return self.count

    def set_extra_state(self, state: object) -> None:
        self.count = state


class Forgetful(Counter):
    set_extra_state = nn.Module.set_extra_state


@pytest.mark.parametrize("count", [{"n": 3}, [1, 2.5], "three", None, {"mean": torch.ones(2)}])
def test_what_a_checkpoint_can_hold_may_stand_in_a_state_dict(count: object) -> None:
    model = Counter(count)
    check_model(model, (5,), 3)
    assert str(model.count) == str(count)


@pytest.mark.parametrize("model", [Counter(Path("log")), Counter(print), Forgetful(3)])
def test_what_a_checkpoint_cannot_bring_back_is_refused(model: nn.Module) -> None:
    with pytest.raises(TrainingError, match="_extra_state, which a checkpoint cannot bring back"):
        check_model(model, (5,), 3)


def test_checking_changes_neither_the_model_nor_the_random_state() -> None:
    model = build_mlp((6,), 3, dropout=0.5, batch_norm=True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    check_model(model, (6,), 3)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.gate  # a process that imports torch anew
def test_the_built_in_models_do_not_import_torchvision() -> None:
    script = (
        "import sys\n"
        "from sweeper.models.build import build_model\n"
        "build_model('cnn', (1, 8, 8), 2)\n"
        "sys.exit('torchvision' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
