"""Fit a noisy wave; stop it whenever you like and go on with --resume.

python resumable.py --learning_rate 0.01 --out runs/a
python resumable.py --learning_rate 0.01 --out runs/a --resume runs/a/last.pt
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def save(path: Path, **state: Any) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a noisy wave.")
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--num_epochs", type=int, default=8)
    parser.add_argument("--random_seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for last.pt")
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to rest after a batch")
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.random_seed)
    x = torch.rand(1500, 1) * 6 - 3
    y = torch.sin(2 * x) + 0.1 * torch.randn_like(x)
    train = TensorDataset(x[:1000], y[:1000])
    wave = [nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)]
    model = nn.Sequential(*wave)
    kind = torch.optim.Adam if args.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)

    first = 0
    if args.resume:
        checkpoint = torch.load(args.resume)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        first = checkpoint["epoch"] + 1
        print(f"resuming from {args.resume} at epoch {first}", flush=True)

    for epoch in range(first, args.num_epochs):
        torch.manual_seed(args.random_seed + epoch)  # the order of the batches
        for inputs, targets in DataLoader(train, batch_size=50, shuffle=True):
            loss = F.mse_loss(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(args.delay)
        with torch.no_grad():
            val_loss = F.mse_loss(model(x[1000:]), y[1000:]).item()
        weights, moments = model.state_dict(), optimizer.state_dict()
        save(args.out / "last.pt", epoch=epoch, model=weights, optimizer=moments)
        print(json.dumps({"epoch": epoch, "val_loss": val_loss}), flush=True)
    print(f"finished, weights are in {args.out / 'last.pt'}")


if __name__ == "__main__":
    main()
