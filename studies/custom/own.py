"""A user's own data, model and training function; each is named by a study file beside it."""

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_wine, make_moons
from torch import Tensor, nn


def load_moons(n_rows: int = 2000, noise: float = 0.2) -> tuple[tuple[Tensor, Tensor], None]:
    """Two interleaved half circles: inputs float32 [n_rows, 2], targets int64 [n_rows]."""
    inputs, targets = make_moons(n_rows, noise=noise, random_state=0)
    train = torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)
    return train, None


def build_residual(
    input_shape: tuple[int, ...], n_outputs: int, *, width: int = 32, n_blocks: int = 2
) -> nn.Module:
    """Residual blocks of one hidden layer each; returns logits."""
    n_inputs = torch.Size(input_shape).numel()
    blocks = [Residual(width) for _ in range(n_blocks)]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(n_inputs, width), *blocks, nn.Linear(width, n_outputs)
    )


class Residual(nn.Module):
    """x + linear(relu(linear(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: float32 [B, width]."""
        out: Tensor = x + self.inner(x)
        return out


def run(params: Mapping[str, Any], trial: Any) -> None:
    """Softmax regression on the wine table, written out by hand, resumable."""
    settings = params["train"]
    table, classes = load_wine(return_X_y=True)
    inputs = torch.tensor(table, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    targets = torch.tensor(classes)
    held_out = torch.arange(len(targets)) % 4 == 0
    model = nn.Linear(inputs.shape[1], 3)
    saved = trial.checkpoint / "weights.pt"
    done = 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        done = state.pop("epoch")
        model.load_state_dict(state)
    for epoch in range(done + 1, settings["epochs"] + 1):
        loss = nn.functional.cross_entropy(model(inputs[~held_out]), targets[~held_out])
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= settings["learning_rate"] * parameter.grad
            hits = model(inputs[held_out]).argmax(1) == targets[held_out]
        torch.save({**model.state_dict(), "epoch": epoch}, saved)
        trial.report(epoch, loss=loss, accuracy=hits.float().mean())
