import pytest

from sweeper.errors import DataError
from sweeper.models.forms import check_inputs
from tests.support.models import samples


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "uint16", "bool"])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet18"])
def test_what_is_built_in_computes_with_float32(architecture: str, dtype: str) -> None:
    with pytest.raises(
        DataError, match=rf"data.name: the inputs are {dtype}, and {architecture} "
    ):
        check_inputs(architecture, samples((3, 8, 8), dtype))
    check_inputs(architecture, samples((3, 8, 8)))
    check_inputs("own:build", samples((3, 8, 8), dtype))


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (480, 640, 3), (16, 16, 4)])
def test_images_with_their_channels_last_are_told_from_others(shape: tuple[int, ...]) -> None:
    for architecture in ("cnn", "resnet18"):
        with pytest.raises(
            DataError, match=r"channels last.* takes \[C, H, W\]; return inputs.per"
        ):
            check_inputs(architecture, samples(shape))
    check_inputs("mlp", samples(shape))
    for other in [(3, 32, 32), (1, 28, 28), (3, 4, 3), (16, 100, 1)]:
        check_inputs("cnn", samples(other))
