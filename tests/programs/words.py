"""Train a small MLP to tell three rings of points apart.

python words.py --lr 0.05 --hidden 32 --epochs 10
"""

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rings(count: int) -> tuple[Tensor, Tensor]:
    labels = torch.randint(3, (count,))
    angles = 2 * torch.pi * torch.rand(count)
    radii = labels + 1 + 0.35 * torch.randn(count)
    return torch.stack([radii * angles.cos(), radii * angles.sin()], dim=1), labels


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small MLP on three rings.")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to rest after a batch")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    x_train, y_train = rings(2000)
    x_val, y_val = rings(1000)
    model = nn.Sequential(
        nn.Linear(2, args.hidden),
        nn.ReLU(),
        nn.Linear(args.hidden, args.hidden),
        nn.ReLU(),
        nn.Linear(args.hidden, 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    print(f"Training {sum(p.numel() for p in model.parameters())} parameters, lr {args.lr}")

    for epoch in range(1, args.epochs + 1):
        model.train()
        for batch in torch.randperm(len(x_train)).split(args.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(x_train[batch]), y_train[batch]).backward()
            optimizer.step()
            time.sleep(args.delay)

        model.eval()
        with torch.no_grad():
            logits = model(x_val)
        loss = F.cross_entropy(logits, y_val).item()
        acc = (logits.argmax(dim=1) == y_val).float().mean().item()
        print(f"Epoch {epoch}/{args.epochs}  loss={loss:.4f}  acc={acc:.4f}")

    print("Done.")


if __name__ == "__main__":
    main()
