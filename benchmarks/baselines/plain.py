"""The script one writes without a harness: an Optuna objective, batches, a plain loop, MLflow.

It is written the way the tutorials of these libraries show it. Its MLflow store is ``mlflow.db``
in the working directory.
"""

import argparse

import mlflow
import optuna
from data_sets import DATA_SETS
from training import DEVICE, evaluate, train_epoch


def objective(trial, scenario, network, data, epochs):
    """Train one trial and log it."""
    setting = {
        name: trial.suggest_float(name, low, high) for name, (low, high) in scenario.SPACE.items()
    }
    train_loader, validation_loader = data.train_loader(), data.validation_loader()
    with mlflow.start_run(run_name=f"trial-{trial.number}", nested=True):
        mlflow.log_params(setting)
        model = scenario.build_model(network, setting, data).to(DEVICE)
        optimizer, schedule = scenario.build_optimizer(model, setting, epochs * len(train_loader))
        for epoch in range(1, epochs + 1):
            train_loss = train_epoch(
                model, train_loader, optimizer, schedule, l1=setting.get("l1", 0.0)
            )
            val_loss, val_accuracy = evaluate(model, validation_loader)
            mlflow.log_metric("train_loss", train_loss, step=epoch)
            mlflow.log_metric("val_loss", val_loss, step=epoch)
            mlflow.log_metric("val_accuracy", val_accuracy, step=epoch)
        example = next(iter(validation_loader))[0][:2]
        mlflow.pytorch.log_model(
            model,
            name="model",
            input_example=example.numpy(),
            **scenario.LOG_MODEL,
        )
    return val_accuracy


def main():
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_set", choices=DATA_SETS)
    parser.add_argument("network", help="one of those that the data set has")
    parser.add_argument("--data", required=True, help="folder that the data lie in")
    parser.add_argument("--experiment", required=True, help="in MLflow")
    parser.add_argument("--trials", type=int, required=True, help="the first so many settings")
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment(arguments.experiment)
    scenario = DATA_SETS[arguments.data_set]
    data = scenario.Data(arguments.data)
    study = optuna.create_study(direction="maximize")
    for setting in scenario.SETTINGS:
        study.enqueue_trial(setting)
    with mlflow.start_run(run_name="study"):
        study.optimize(
            lambda trial: objective(trial, scenario, arguments.network, data, arguments.epochs),
            n_trials=arguments.trials,
        )
        mlflow.log_params({f"best_{name}": value for name, value in study.best_params.items()})
        mlflow.log_metric("best_val_accuracy", study.best_value)


if __name__ == "__main__":
    main()
