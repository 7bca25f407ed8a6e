"""Networks that begin with the weights of others, fetched from a real server of files."""

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms.v2.functional import normalize

from sweeper.config.settings import ModelConfig
from sweeper.errors import TrainingError
from sweeper.models.build import build_for, check_model
from sweeper.models.pretrained import Pretrained, fetch_weights
from sweeper.trial import DataInfo

NAME = "shufflenet_v2_x0_5"
WEIGHTS = models.get_model_weights(NAME)["DEFAULT"]


class Files(SimpleHTTPRequestHandler):
    """Notes what is asked for."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """As torchvision's weights would make it: with statistics, and answers that differ."""
    torch.manual_seed(3)
    network: nn.Module = models.get_model(NAME)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    for _ in range(3):
        network(torch.randn(16, 3, 64, 64))
    return network.eval()


@pytest.fixture
def served(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, list[str]]]:
    """The file on a server from which torchvision's entry has it, and what was asked for."""
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save(network.state_dict(), folder / "weights")
    digest = hashlib.sha256((folder / "weights").read_bytes()).hexdigest()
    path = (folder / "weights").rename(folder / f"small-{digest[:8]}.pth")
    Files.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    url = f"http://127.0.0.1:{server.server_port}/{path.name}"
    monkeypatch.setattr(WEIGHTS.value, "url", url)
    yield path, Files.asked
    server.shutdown()
    thread.join()
    server.server_close()


def grey(channels: int = 1, *, scaled: bool = True) -> DataInfo:
    mean, std = ((0.4,) * channels, (0.2,) * channels) if scaled else ((), ())
    return DataInfo("p", "0" * 16, (channels, 64, 64), 3, 9, 3, mean=mean, std=std)


def build(data: DataInfo, **params: Any) -> Pretrained:
    torch.manual_seed(0)
    config = ModelConfig(architecture=NAME, params={"weights": "DEFAULT", **params})
    model = build_for(config, data)
    assert isinstance(model, Pretrained)
    return model


def features(network: nn.Module, pictures: Tensor) -> Tensor:
    """What reaches the last layer."""
    seen: list[Tensor] = []
    hook = network.get_submodule("fc").register_forward_pre_hook(
        lambda _, given: seen.extend(given)
    )
    network(pictures)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_reach_the_weights_as_they_were_trained(
    network: nn.Module, served: tuple[Path, list[str]], channels: int
) -> None:
    model = build(grey(channels)).eval()
    model.load()
    pictures = torch.rand(2, channels, 64, 64)  # in [0, 1], as files have them
    pictures[1] *= 0.2
    wanted = WEIGHTS.transforms()
    expected = features(
        network, normalize(pictures.expand(-1, 3, -1, -1), wanted.mean, wanted.std)
    )
    seen: list[Tensor] = []
    model.last_layer.register_forward_pre_hook(lambda _, given: seen.extend(given))
    assert model((pictures - 0.4) / 0.2).shape == (2, 3)  # as sweeper scales these data
    assert (expected[0] - expected[1]).abs().mean() > 0.01
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_inputs_that_nobody_scaled_are_taken_as_they_are(
    network: nn.Module, served: tuple[Path, list[str]]
) -> None:
    model = build(grey(3, scaled=False)).eval()
    model.load()
    pictures = torch.randn(2, 3, 64, 64)
    expected = features(network, pictures)
    seen: list[Tensor] = []
    model.last_layer.register_forward_pre_hook(lambda _, given: seen.extend(given))
    model(pictures)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)


def test_the_last_layer_alone_is_new_and_follows_the_seed(
    network: nn.Module, served: tuple[Path, list[str]]
) -> None:
    model, again = build(grey()), build(grey())
    model.load()
    own, theirs = model.net.state_dict(), network.state_dict()
    assert {name for name in own if not torch.equal(own[name], theirs[name])} == {
        "fc.weight",
        "fc.bias",
    }
    for one, other in zip(
        model.last_layer.parameters(), again.last_layer.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_what_is_frozen_stays_and_has_its_statistics_fixed(
    served: tuple[Path, list[str]],
) -> None:
    model = build(grey(), freeze="backbone")
    model.load()
    check_model(model, (1, 64, 64), 3)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["net.fc.weight", "net.fc.bias"]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(torch.randn(4, 1, 64, 64)).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert model.last_layer.training
    thawed = build(grey())
    thawed.train()(torch.randn(4, 1, 64, 64))
    assert thawed.net.get_buffer("conv1.1.num_batches_tracked") == 1


def test_two_that_want_the_same_file_download_it_once(served: tuple[Path, list[str]]) -> None:
    path, asked = served
    build(grey())
    assert asked == []  # whoever only wants the form needs no file
    threads = [threading.Thread(target=fetch_weights, args=(NAME, "DEFAULT")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    build(grey()).load()
    assert asked == [f"/{path.name}"]
    assert fetch_weights(NAME, "IMAGENET1K_V1").read_bytes() == path.read_bytes()


def test_a_file_of_another_content_is_not_kept(served: tuple[Path, list[str]]) -> None:
    path, _ = served
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrainingError, match=r"is not to be had: http.*: invalid hash value"):
        build(grey()).load()
    assert [p.suffix for p in (path.parents[1] / "home/hub/checkpoints").iterdir()] == [".lock"]


def test_without_a_network_the_way_out_is_told(
    served: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = served
    url = f"http://127.0.0.1:1/{path.name}"
    monkeypatch.setattr(WEIGHTS.value, "url", url)
    wanted = tmp_path / "home/hub/checkpoints" / path.name
    with pytest.raises(TrainingError) as caught:
        build(grey()).load()
    assert re.fullmatch(
        rf"model.weights: DEFAULT of {NAME} is not to be had: {url}: .*refused.*; get this file "
        rf"elsewhere and put it at {wanted} \(\$TORCH_HOME says where that is\), or set weights: "
        "none",
        str(caught.value),
    )
    wanted.write_bytes(path.read_bytes())  # as it says
    build(grey()).load()


def test_a_file_that_is_no_weights_is_named(served: tuple[Path, list[str]]) -> None:
    path = fetch_weights(NAME, "DEFAULT")
    path.write_bytes(b"<html>")
    with pytest.raises(TrainingError, match=f"model.weights: {path} cannot be read .*; delete it"):
        build(grey()).load()


def test_weights_of_pictures_of_another_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = models.get_model_weights("vit_b_16")["DEFAULT"]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints" / weights.url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    torch.save({}, path)
    config = ModelConfig(architecture="vit_b_16", params={"weights": "DEFAULT"})
    with torch.device("meta"):
        model = build_for(config, grey())
        assert isinstance(model, Pretrained)
        with pytest.raises(TrainingError, match="do not fit: The parameter 'image_size' expected"):
            model.load()


@pytest.mark.parametrize(
    ("params", "channels", "message"),
    [
        (
            {"weights": "LATEST"},
            1,
            "model.weights: .* takes none, IMAGENET1K_V1, DEFAULT; got LATE",
        ),
        (
            {"freeze": "backbone", "weights": "none"},
            1,
            "model.freeze: .* begins with random weigh",
        ),
        ({"freeze": "all"}, 1, "model.freeze: must be none or backbone, got all"),
        ({}, 4, "for pictures of three channels, which grey ones are given; got 4 channels"),
    ],
)
def test_what_no_weights_are_for_is_refused(
    params: dict[str, Any], channels: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        build(grey(channels), **params)


@pytest.mark.slow
def test_the_last_layer_of_every_classifier_is_found() -> None:
    for name in models.list_models(module=models):
        if not name.startswith("regnet"):  # needs numbers to be built
            config = ModelConfig(architecture=name, params={"weights": "DEFAULT"})
            size = 299 if name == "inception_v3" else 224
            data = DataInfo("p", "0" * 16, (3, size, size), 7, 9, 3)
            with torch.device("meta"):
                model = build_for(config, data)
            assert isinstance(model, Pretrained)
            last = model.last_layer
            assert 7 in (getattr(last, "out_features", 0), getattr(last, "out_channels", 0)), name
