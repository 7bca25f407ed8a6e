"""Networks of torchvision with weights that others have trained, and a last layer for the data."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.locks import FileLock
from sweeper.outage import socket_timeout

log = logging.getLogger("sweeper")

#: A host that says nothing for so long is given up.
_READ_TIMEOUT_S = 10.0


class Pretrained(nn.Module):
    """A network whose weights are those of torchvision, but for its last layer.

    What it takes is scaled as the weights want it, and grey pictures are repeated to three
    channels. Frozen, all but the last layer stays as it is in eval mode: statistics of batch
    normalisation too, and nothing is dropped there. The weights are there after :meth:`load`.

    Args:
        name: Of torchvision.
        net: As torchvision builds it for the data, with any weights.
        weights: A word of :func:`find_weights`.
        arguments: That ``net`` was built with, beside the number of outputs.
        is_frozen: Whether the last layer alone is trained.
        mean: Per channel of the inputs, in units of [0, 1], before they were scaled to 0; empty
            where inputs are taken as they are.
        std: As ``mean``.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        *,
        weights: str,
        arguments: Mapping[str, Any],
        is_frozen: bool,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self._name = name
        self._weights = weights
        self._arguments = dict(arguments)
        self._is_frozen = is_frozen
        self.net = net
        scale, shift = torch.ones(3, 1, 1), torch.zeros(3, 1, 1)
        if mean:
            wanted = find_weights(name, weights).transforms()
            wanted_mean, wanted_std = torch.tensor(wanted.mean), torch.tensor(wanted.std)
            scale = (torch.tensor(std) / wanted_std).view(3, 1, 1)
            shift = ((torch.tensor(mean) - wanted_mean) / wanted_std).view(3, 1, 1)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self._last = [
            key for key, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
        ][-1]
        if self._is_frozen:
            net.requires_grad_(False)
            self.last_layer.requires_grad_(True)

    @property
    def last_layer(self) -> nn.Module:
        """That is new, and always trained."""
        return self.net.get_submodule(self._last)

    def train(self, mode: bool = True) -> "Pretrained":
        """As of any module; what is frozen stays in eval mode."""
        super().train(mode)
        if self._is_frozen:
            self.net.eval()
            self.last_layer.train(mode)
        return self

    def forward(self, inputs: Tensor) -> Any:
        """Map float32 [B, C, H, W] with one channel or three to outputs."""
        pictures = inputs.expand(-1, 3, -1, -1)
        return self.net(pictures * self.get_buffer("scale") + self.get_buffer("shift"))

    def load(self) -> None:
        """Put the weights in, downloaded unless they are there; the last layer stays.

        Raises:
            TrainingError: If they are not to be had, or are of another network.
        """
        from torchvision import models

        path = fetch_weights(self._name, self._weights)
        builder = models.get_model_builder(self._name)
        weights = find_weights(self._name, self._weights)
        try:
            # torchvision would run code that is in it.
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as exc:
            reason = str(exc).partition("\n")[0]
            raise TrainingError(
                f"model.weights: {path} cannot be read ({reason}); delete it, so that it is "
                "downloaded anew"
            ) from exc
        try:
            source = builder(weights=weights, progress=False, **self._arguments)
            state = {
                key: value
                for key, value in source.state_dict().items()
                if key.rpartition(".")[0] != self._last
            }
            self.net.load_state_dict({**self.net.state_dict(), **state})
        except (RuntimeError, ValueError) as exc:
            raise TrainingError(
                f"model.weights: those of {self._name} do not fit: {exc}; give the pictures the "
                "size that they were trained on, leave other arguments of model out, or set "
                "weights: none"
            ) from exc


def find_weights(name: str, word: str) -> Any:
    """The entry of torchvision's list that a study file means.

    Args:
        name: Of an image classifier.
        word: ``DEFAULT`` or the name of one of its weights.

    Raises:
        TrainingError: If there is none of that name.
    """
    from torchvision import models

    known = models.get_model_weights(name)
    if word not in known.__members__:
        names = ", ".join(known.__members__)
        raise TrainingError(f"model.weights: {name} takes none, {names}; got {word}")
    return known[word]


def fetch_weights(name: str, word: str) -> Path:
    """The file of some weights in torch's hub folder, downloaded if it is not there yet.

    Processes of one machine that ask for the same file download it once. It has its name when it
    is whole and its checksum is right, so one that is killed leaves none.

    Raises:
        TrainingError: If it is not there and cannot be downloaded.
    """
    weights = find_weights(name, word)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / os.path.basename(urlparse(str(weights.url)).path)
    if path.exists():
        return path
    try:
        with FileLock(path.with_name(f"{path.name}.lock")).held():
            if not path.exists():
                log.info("downloading %s to %s", weights.url, path)
                _download(weights.url, path)
    except Exception as exc:  # of sockets, HTTP, disks, and a wrong checksum
        raise TrainingError(
            f"model.weights: {word} of {name} is not to be had: {weights.url}: "
            f"{str(exc) or repr(exc)}; get this file elsewhere and put it at {path} "
            "($TORCH_HOME says where that is), or set weights: none"
        ) from exc
    return path


def _download(url: str, path: Path) -> None:
    checksum = torch.hub.HASH_REGEX.search(path.name)
    with socket_timeout(_READ_TIMEOUT_S):
        torch.hub.download_url_to_file(
            url, str(path), checksum[1] if checksum else None, progress=False
        )
