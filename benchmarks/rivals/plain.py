"""The script one writes without a harness: an Optuna objective, a ``DataLoader``, MLflow.

It is written the way the tutorials of these libraries show it, with their defaults. Its MLflow
store is ``mlflow.db`` in the working directory.
"""

import argparse

import mlflow
import optuna
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

BATCH_SIZE = 64
EPOCHS = 2
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SETTINGS = [
    {"learning_rate": 0.01, "l1": 1e-6, "l2": 1e-5},
    {"learning_rate": 0.05, "l1": 1e-6, "l2": 1e-5},
    {"learning_rate": 0.01, "l1": 1e-5, "l2": 1e-5},
    {"learning_rate": 0.05, "l1": 1e-5, "l2": 1e-5},
    {"learning_rate": 0.01, "l1": 1e-6, "l2": 1e-4},
    {"learning_rate": 0.05, "l1": 1e-6, "l2": 1e-4},
    {"learning_rate": 0.01, "l1": 1e-5, "l2": 1e-4},
    {"learning_rate": 0.05, "l1": 1e-5, "l2": 1e-4},
]


def load_data(root):
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    data = datasets.MNIST(root, train=True, download=True, transform=transform)
    train, validation = random_split(data, [0.9, 0.1], generator=torch.Generator().manual_seed(1))
    return (
        DataLoader(train, batch_size=BATCH_SIZE, shuffle=True),
        DataLoader(validation, batch_size=BATCH_SIZE),
    )


def build_model():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )


def train_epoch(model, loader, optimizer, l1):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
        optimizer.zero_grad()
        penalty = sum(parameter.abs().sum() for parameter in model.parameters())
        loss = F.cross_entropy(model(inputs), targets) + l1 * penalty
        loss.backward()
        optimizer.step()
        total += loss.item() * len(targets)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    total, hits = 0.0, 0
    for inputs, targets in loader:
        inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
        logits = model(inputs)
        total += F.cross_entropy(logits, targets, reduction="sum").item()
        hits += (logits.argmax(dim=1) == targets).sum().item()
    return total / len(loader.dataset), hits / len(loader.dataset)


def objective(trial, train_loader, validation_loader):
    learning_rate = trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)
    l1 = trial.suggest_float("l1", 1e-7, 1e-3, log=True)
    l2 = trial.suggest_float("l2", 1e-7, 1e-2, log=True)
    with mlflow.start_run(run_name=f"trial-{trial.number}", nested=True):
        mlflow.log_params(trial.params)
        model = build_model().to(DEVICE)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=l2
        )
        for epoch in range(1, EPOCHS + 1):
            train_loss = train_epoch(model, train_loader, optimizer, l1)
            val_loss, val_accuracy = evaluate(model, validation_loader)
            mlflow.log_metric("train_loss", train_loss, step=epoch)
            mlflow.log_metric("val_loss", val_loss, step=epoch)
            mlflow.log_metric("val_accuracy", val_accuracy, step=epoch)
        example = next(iter(validation_loader))[0][:2]
        mlflow.pytorch.log_model(model, name="model", input_example=example.numpy())
    return val_accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--trials", type=int, default=len(SETTINGS), help="the first so many")
    arguments = parser.parse_args()

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("mlp_trials")
    loaders = load_data(arguments.data)
    study = optuna.create_study(direction="maximize")
    for setting in SETTINGS:
        study.enqueue_trial(setting)
    with mlflow.start_run(run_name="study"):
        study.optimize(lambda trial: objective(trial, *loaders), n_trials=arguments.trials)
        mlflow.log_params({f"best_{name}": value for name, value in study.best_params.items()})
        mlflow.log_metric("best_val_accuracy", study.best_value)


if __name__ == "__main__":
    main()
