"""The script one writes without a harness: an Optuna objective, a ``DataLoader``, MLflow.

It is written the way the tutorials of these libraries show it, with their defaults. Its MLflow
store is ``mlflow.db`` in the working directory.
"""

import argparse

import mlflow
import optuna
from training import (
    DEVICE,
    NETWORKS,
    SETTINGS,
    build_optimizer,
    evaluate,
    load_data,
    train_epoch,
)


def objective(trial, network, loaders, epochs):
    """Train one trial and log it."""
    train_loader, validation_loader = loaders
    learning_rate = trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)
    l1 = trial.suggest_float("l1", 1e-7, 1e-3, log=True)
    l2 = trial.suggest_float("l2", 1e-7, 1e-2, log=True)
    with mlflow.start_run(run_name=f"trial-{trial.number}", nested=True):
        mlflow.log_params(trial.params)
        model = NETWORKS[network]().to(DEVICE)
        optimizer = build_optimizer(model, learning_rate, l2)
        for epoch in range(1, epochs + 1):
            train_loss = train_epoch(model, train_loader, optimizer, l1)
            val_loss, val_accuracy = evaluate(model, validation_loader)
            mlflow.log_metric("train_loss", train_loss, step=epoch)
            mlflow.log_metric("val_loss", val_loss, step=epoch)
            mlflow.log_metric("val_accuracy", val_accuracy, step=epoch)
        example = next(iter(validation_loader))[0][:2]
        mlflow.pytorch.log_model(model, name="model", input_example=example.numpy())
    return val_accuracy


def main():
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--data", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--trials", type=int, required=True, help="the first so many settings")
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment(f"{arguments.network}_trials")
    loaders = load_data(arguments.data)
    study = optuna.create_study(direction="maximize")
    for setting in SETTINGS:
        study.enqueue_trial(setting)
    with mlflow.start_run(run_name="study"):
        study.optimize(
            lambda trial: objective(trial, arguments.network, loaders, arguments.epochs),
            n_trials=arguments.trials,
        )
        mlflow.log_params({f"best_{name}": value for name, value in study.best_params.items()})
        mlflow.log_metric("best_val_accuracy", study.best_value)


if __name__ == "__main__":
    main()
