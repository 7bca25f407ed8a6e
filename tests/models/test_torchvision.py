import pytest
import torch

from sweeper.errors import TrainingError
from sweeper.models.build import build_model, check_model
from sweeper.models.torchvision import classifier_names
from sweeper.trial import DataInfo


def pictures(shape: tuple[int, ...]) -> DataInfo:
    return DataInfo("pictures", "0" * 16, shape, 5, 9, 3)


@pytest.mark.parametrize("name", ["resnet18", "regnet_x_400mf", "squeezenet1_1"])
def test_a_torchvision_model_is_fitted_to_grey_images_and_learns(name: str) -> None:
    model = build_model(name, pictures((1, 32, 32)), 7)
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
        check_model(build_model(name, pictures(shape), 11), shape, 11)


@pytest.mark.slow
def test_every_classifier_of_torchvision_can_be_built() -> None:
    # regnet's builders compute their widths with tensors, which have no numbers on meta.
    names = [name for name in classifier_names() if not name.startswith("regnet")]
    assert len(names) >= 65
    for name in names:
        with torch.device("meta"):
            check_model(build_model(name, pictures((2, 224, 224)), 5), (2, 224, 224), 5)


def test_images_that_a_torchvision_model_cannot_take_are_refused() -> None:
    with torch.device("meta"):
        vgg = build_model("vgg11", pictures((1, 28, 28)), 10)
        with pytest.raises(TrainingError, match=r"VGG cannot take samples of shape \[1, 28, 28\]"):
            check_model(vgg, (1, 28, 28), 10)
        with pytest.raises(TrainingError, match=r"vit_b_16 cannot be built for images of 28 x 28"):
            build_model("vit_b_16", pictures((1, 28, 28)), 10)
