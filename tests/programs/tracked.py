"""Classify parity-like points and keep everything in MLflow.

MLFLOW_TRACKING_URI=sqlite:///mlflow.db python tracked.py --learning-rate 0.01
"""

import argparse
import tempfile
import time
from pathlib import Path

import mlflow
import torch
from torch import nn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", "-l", type=float, default=1e-2)
    parser.add_argument("--n-layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--max-epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--experiment", default="parity")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to rest after a batch")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    x = torch.rand(3000, 6) * 2 - 1
    y = (x[:, :3].prod(dim=1) > 0).float()
    x_train, x_test, y_train, y_test = x[:2000], x[2000:], y[:2000], y[2000:]

    layers: list[nn.Module] = [nn.Linear(6, 48), nn.ReLU()]
    for _ in range(args.n_layers - 1):
        layers += [nn.Dropout(args.dropout), nn.Linear(48, 48), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(48, 1), nn.Flatten(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    criterion = nn.BCEWithLogitsLoss()

    mlflow.set_experiment(args.experiment)
    with mlflow.start_run(run_name=f"layers-{args.n_layers}"):
        mlflow.log_params(vars(args))
        mlflow.set_tag("framework", "torch")
        for epoch in range(args.max_epochs):
            model.train()
            total = 0.0
            for batch in torch.randperm(2000).split(100):
                optimizer.zero_grad()
                loss = criterion(model(x_train[batch]), y_train[batch])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
                time.sleep(args.delay)
            model.eval()
            with torch.no_grad():
                logits = model(x_test)
            accuracy = ((logits > 0) == (y_test > 0)).float().mean().item()
            mlflow.log_metric("train_loss", total / 2000, step=epoch)
            mlflow.log_metric("test_loss", criterion(logits, y_test).item(), step=epoch)
            mlflow.log_metric("test_accuracy", accuracy, step=epoch)
            print(f"[{epoch + 1:>2}] train loss {total / 2000:.3f}, test accuracy {accuracy:.1%}")
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.pt"
            torch.save(model.state_dict(), weights)
            mlflow.log_artifact(str(weights))


if __name__ == "__main__":
    main()
