"""A program as people have it: options, lines of output, a file to go on from."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--out", type=Path, default=Path("out"))
options = parser.parse_args()

xs = [i / 50 - 1 for i in range(100)]
saved = options.out / "weight.json"
done, weight = json.loads(saved.read_text()) if saved.exists() else (0, 0.0)
for epoch in range(done + 1, options.epochs + 1):
    slope = sum(2 * (weight - 3) * x * x for x in xs[::2]) / 50
    weight -= options.lr * slope
    loss = sum((weight * x - 3 * x) ** 2 for x in xs[1::2]) / 50
    saved.write_text(json.dumps([epoch, weight]))
    print(json.dumps({"epoch": epoch, "val_loss": loss}))
