import inspect
import math
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from sweeper.config.settings import ARCHITECTURE_PARAMS, Activation
from sweeper.errors import TrainingError
from sweeper.models.activation import ACTIVATIONS, build_activation
from sweeper.models.build import BUILDERS, build_model, check_model, model_params
from sweeper.models.cnn import build_cnn
from sweeper.models.dropout import Dropout
from sweeper.models.mlp import build_mlp
from sweeper.models.torchvision import classifier_names


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_activations_are_those_of_the_study_file() -> None:
    assert set(ACTIVATIONS) == set(get_args(Activation))


def test_the_builders_take_what_the_study_file_may_set() -> None:
    assert set(BUILDERS) == set(ARCHITECTURE_PARAMS)
    for name, builder in BUILDERS.items():
        keywords = list(inspect.signature(builder).parameters)[2:]
        assert keywords == list(ARCHITECTURE_PARAMS[name])


@pytest.mark.parametrize(
    ("name", "at_minus_one"),
    [
        ("relu", 0.0),
        ("tanh", -0.761594),
        ("sigmoid", 0.268941),
        ("gelu", -0.158655),
        ("silu", -0.268941),
        ("elu", -0.632121),
        ("leaky_relu", -0.01),
    ],
)
def test_each_activation_is_the_function_of_its_name(
    name: Activation, at_minus_one: float
) -> None:
    value = build_activation(name)(torch.tensor(-1.0))
    torch.testing.assert_close(value.item(), at_minus_one, rtol=0, atol=1e-6)


def test_an_unknown_activation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="model.activation: must be one of relu, .*'reul'"):
        build_mlp((4,), 2, activation="reul")  # type: ignore[arg-type]


def test_depth_one_and_width_128_is_the_classic_network() -> None:
    model = build_mlp((1, 28, 28), 10, depth=1, width=128)
    assert n_parameters(model) == 784 * 128 + 128 + 128 * 10 + 10
    linear = [module for module in model if isinstance(module, nn.Linear)]
    inputs = torch.randn(3, 1, 28, 28)
    hidden = torch.relu(inputs.reshape(3, 784) @ linear[0].weight.T + linear[0].bias)
    expected = hidden @ linear[1].weight.T + linear[1].bias
    torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)


def test_depth_zero_is_logistic_regression() -> None:
    assert n_parameters(build_mlp((2, 3), 4, depth=0)) == 6 * 4 + 4


def test_every_hidden_layer_of_an_mlp_has_norm_activation_and_dropout() -> None:
    model = build_mlp((6,), 3, depth=2, width=5, activation="gelu", dropout=0.5, batch_norm=True)
    hidden = ["Linear", "BatchNorm1d", "GELU", "Dropout"]
    assert [type(layer).__name__ for layer in model] == ["Flatten", *hidden, *hidden, "Linear"]
    assert n_parameters(model) == 6 * 5 + 2 * 5 + 5 * 5 + 2 * 5 + 5 * 3 + 3


def test_a_cnn_doubles_its_channels_and_halves_the_image() -> None:
    model = build_cnn((3, 12, 9), 7, depth=2, channels=4, kernel_size=5, batch_norm=True)
    # 12 x 9 -> 6 x 4 -> 3 x 2, 8 channels
    expected = (3 * 4 * 25 + 2 * 4) + (4 * 8 * 25 + 2 * 8) + (8 * 3 * 2 * 7 + 7)
    assert n_parameters(model) == expected
    check_model(model, (3, 12, 9), 7)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "elu", "leaky_relu"])
def test_the_maximum_may_come_before_a_monotone_activation(activation: Activation) -> None:
    model = build_cnn((1, 8, 8), 2, depth=1, channels=3, activation=activation)
    convolution, maximum, nonlinearity, *head = model
    inputs = torch.randn(5, 1, 8, 8)
    usual = nn.Sequential(convolution, nonlinearity, maximum, *head)
    torch.testing.assert_close(model(inputs), usual(inputs), rtol=0, atol=1e-6)


def test_a_cnn_drops_before_its_head_only() -> None:
    layers = [type(layer).__name__ for layer in build_cnn((1, 8, 8), 2, depth=1, dropout=0.1)]
    assert layers == ["Conv2d", "MaxPool2d", "ReLU", "Flatten", "Dropout", "Linear"]


def test_a_cnn_too_deep_for_the_image_is_refused_with_the_largest_depth() -> None:
    check_model(build_cnn((1, 28, 30), 10, depth=4, channels=1), (1, 28, 30), 10)
    with pytest.raises(TrainingError, match="28 x 30 allows a depth of at most 4, got depth=5"):
        build_cnn((1, 28, 30), 10, depth=5, channels=1)


@pytest.mark.parametrize("kernel_size", [1, 4, 7])
def test_any_kernel_of_a_cnn_keeps_the_image(kernel_size: int) -> None:
    check_model(build_cnn((1, 9, 8), 10, depth=3, kernel_size=kernel_size), (1, 9, 8), 10)


def test_a_convolving_model_and_what_is_made_of_it_lie_in_channels_last() -> None:
    model = build_model("cnn", (3, 8, 8), 3)
    assert isinstance(weight := next(model.parameters()), torch.Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.zeros_like(weight).stride() == weight.stride()  # an optimiser's state


def test_a_cnn_without_an_image_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"takes images \[C, H, W\], got .* \[30\]; take mlp"):
        build_cnn((30,), 10)


def test_defaults_are_laid_into_the_params_and_given_ones_stay() -> None:
    assert model_params("mlp", {"width": 7}) == {
        "depth": 2,
        "width": 7,
        "activation": "relu",
        "dropout": 0.0,
        "batch_norm": False,
    }
    assert model_params("resnet18", {"zero_init_residual": True}) == {"zero_init_residual": True}


def test_an_unknown_architecture_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(TrainingError, match="unknown architecture 'resnet19'; did you mean.*18"):
        build_model("resnet19", (3, 32, 32), 10)
    with pytest.raises(TrainingError, match="'zzz'; it is none of ours.* mlp, cnn, a name of"):
        build_model("zzz", (3, 32, 32), 10)


def test_a_keyword_that_a_builder_does_not_take_is_refused_with_those_it_takes() -> None:
    with pytest.raises(TrainingError, match="mlp: .*'kernel_size'; it takes depth, width, act"):
        build_model("mlp", (3, 32, 32), 10, kernel_size=3)
    with pytest.raises(TrainingError, match="resnet18 cannot be built.*'activation'; .*groups"):
        build_model("resnet18", (3, 32, 32), 10, activation="relu")
    with pytest.raises(TrainingError, match="resnet18 cannot be built.*'weights'"):
        build_model("resnet18", (3, 32, 32), 10, weights="DEFAULT")


def test_the_same_seed_builds_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model("cnn", (1, 8, 8), 10).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["resnet18", "regnet_x_400mf", "squeezenet1_1"])
def test_a_torchvision_model_is_fitted_to_grey_images_and_learns(name: str) -> None:
    model = build_model(name, (1, 32, 32), 7)
    check_model(model, (1, 32, 32), 7)
    model(torch.randn(2, 1, 32, 32)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vgg11", (1, 32, 32)),
        ("vit_b_16", (1, 32, 32)),
        ("maxvit_t", (4, 224, 224)),
        ("googlenet", (1, 32, 32)),
        ("inception_v3", (3, 96, 96)),
        ("swin_t", (1, 28, 28)),
        ("densenet121", (1, 32, 32)),
    ],
)
def test_big_torchvision_models_fit_too(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):  # shapes without numbers
        check_model(build_model(name, shape, 11), shape, 11)


@pytest.mark.slow
def test_every_classifier_of_torchvision_can_be_built() -> None:
    names = [
        name for name in classifier_names() if not name.startswith("regnet")
    ]  # reads its numbers
    assert len(names) >= 65
    for name in names:
        with torch.device("meta"):
            check_model(build_model(name, (2, 224, 224), 5), (2, 224, 224), 5)


def test_images_that_a_torchvision_model_cannot_take_are_refused() -> None:
    with torch.device("meta"):
        vgg = build_model("vgg11", (1, 28, 28), 10)
        with pytest.raises(TrainingError, match=r"VGG cannot take samples of shape \[1, 28, 28\]"):
            check_model(vgg, (1, 28, 28), 10)
        with pytest.raises(TrainingError, match=r"vit_b_16 cannot be built for images \[1, 28"):
            build_model("vit_b_16", (1, 28, 28), 10)
    with pytest.raises(TrainingError, match=r"resnet18 takes images \[C, H, W\], got .* \[30\]"):
        build_model("resnet18", (30,), 10)


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "users_nets_of_test_models"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, n_classes, *, width=3, note='n', shape=(1, 2)):\n"
        "    return nn.Sequential(nn.Linear(*input_shape, width), nn.Linear(width, n_classes))\n"
        "def forgetful(input_shape, n_classes):\n"
        "    pass\n"
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


class TwoAnswers(nn.Linear):
    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(batch), batch


class Winner(nn.Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch).long()


def test_a_model_that_does_not_return_logits_is_refused_with_what_came() -> None:
    with pytest.raises(TrainingError, match=r"logits \[B, n_classes\], here \[2, 3\], got \[2, 4"):
        check_model(nn.Linear(5, 4), (5,), 3)
    with pytest.raises(TrainingError, match="got tuple"):
        check_model(TwoAnswers(5, 3), (5,), 3)
    with pytest.raises(TrainingError, match=r"as floating point, got torch.int64"):
        check_model(Winner(5, 3), (5,), 3)
    with pytest.raises(TrainingError, match="cannot take samples of shape .7.: .*mat1 and mat2"):
        check_model(nn.Linear(5, 3), (7,), 3)
    with pytest.raises(TrainingError, match="no parameter that requires a gradient"):
        check_model(nn.Linear(5, 3).requires_grad_(False), (5,), 3)


def test_checking_changes_neither_the_model_nor_the_random_state() -> None:
    model = build_mlp((6,), 3, dropout=0.5, batch_norm=True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    check_model(model, (6,), 3)
    assert model.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_built_in_models_do_not_import_torchvision() -> None:
    script = (
        "import sys\n"
        "from sweeper.models.build import build_model\n"
        "build_model('cnn', (1, 8, 8), 2)\n"
        "sys.exit('torchvision' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class TestDropout:
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_drops_the_share_and_keeps_the_mean(self, share: float) -> None:
        torch.manual_seed(3)
        n_units = 1_000_001  # no multiple of four
        outputs = Dropout(share)(torch.ones(n_units))
        # Five standard deviations of a binomial share.
        margin = 5 * math.sqrt(share * (1 - share) / n_units)
        assert abs((outputs == 0).double().mean().item() - share) < margin
        kept = outputs[outputs > 0]
        torch.testing.assert_close(
            kept, torch.full_like(kept, 1 / (1 - share)), rtol=2**-15 / (1 - share), atol=0
        )

    def test_units_are_dropped_independently(self) -> None:
        torch.manual_seed(3)
        dropped = (Dropout(0.5)(torch.ones(250_000, 4)) == 0).double()
        correlations = torch.corrcoef(dropped.T) - torch.eye(4)
        assert correlations.abs().max() < 5 / math.sqrt(250_000)

    def test_the_gradient_is_masked_and_scaled_like_the_output(self) -> None:
        torch.manual_seed(3)
        inputs = torch.full((8, 3, 5, 7), 2.0, requires_grad=True)
        outputs = Dropout(0.5)(inputs)
        outputs.sum().backward()
        torch.testing.assert_close(inputs.grad, outputs.detach() / 2, rtol=0, atol=0)
        assert 0 < (outputs == 0).sum() < outputs.numel()

    def test_one_seed_one_mask(self) -> None:
        masks = []
        for _ in range(2):
            torch.manual_seed(3)
            masks.append(Dropout(0.5)(torch.ones(1000)))
        torch.testing.assert_close(*masks, rtol=0, atol=0)

    def test_a_share_that_rounds_to_all_of_them_leaves_finite_numbers(self) -> None:
        assert Dropout(1 - 1e-9)(torch.ones(100_000)).isfinite().all()

    def test_evaluation_passes_inputs_on(self) -> None:
        inputs = torch.ones(10)
        assert Dropout(0.5).eval()(inputs) is inputs
