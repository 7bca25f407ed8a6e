import pytest

from sweeper.config.architecture_params import ARCHITECTURE_PARAMS
from sweeper.config.torchvision_names import torchvision_names


def test_the_names_read_from_torchvisions_source_are_those_it_registers() -> None:
    models = pytest.importorskip("torchvision.models")
    registered = {
        name
        for name in models.list_models()
        if models.get_model_builder(name).__module__.count(".") == 2
    }
    assert registered <= torchvision_names()
    assert not torchvision_names() & ARCHITECTURE_PARAMS.keys()
