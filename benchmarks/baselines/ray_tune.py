"""The same trials under Ray Tune, with its MLflow callback.

It is written the way Ray's guides to PyTorch and MLflow show it, with Ray's defaults: a trial
takes one core, and as many run at once as there are cores. Its MLflow store is ``mlflow.db`` in
the working directory.
"""

import argparse
import os

import mlflow
import mnist
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search import BasicVariantGenerator
from training import DEVICE, evaluate, train_epoch

SPACE = {
    "learning_rate": tune.loguniform(1e-3, 1e-1),
    "l1": tune.loguniform(1e-7, 1e-3),
    "l2": tune.loguniform(1e-7, 1e-2),
}
GPUS_PER_TRIAL = 0.5 if torch.cuda.is_available() else 0


def train(config, network, root, epochs, tracking_uri, experiment):
    """Train one trial; the callback logs what it reports, the model it logs itself."""
    data = mnist.Data(root)
    train_loader, validation_loader = data.train_loader(), data.validation_loader()
    model = mnist.build_model(network, config, data).to(DEVICE)
    optimizer, schedule = mnist.build_optimizer(model, config, epochs * len(train_loader))
    for _ in range(epochs):
        train_loss = train_epoch(model, train_loader, optimizer, schedule, config["l1"])
        val_loss, val_accuracy = evaluate(model, validation_loader)
        tune.report({"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy})
    example = next(iter(validation_loader))[0][:2]
    log_model(model, example, experiment, tracking_uri)


def log_model(model, example, experiment, tracking_uri):
    """Log it to the run that the callback has opened for this trial in the driver."""
    mlflow.set_tracking_uri(tracking_uri)
    (run,) = mlflow.search_runs(
        experiment_names=[experiment],
        filter_string=f"tags.trial_name = '{tune.get_context().get_trial_name()}'",
        output_format="list",
    )
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.pytorch.log_model(model, name="model", input_example=example.numpy())


def main():
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_set", choices=["mnist"])
    parser.add_argument("network", choices=mnist.NETWORKS)
    parser.add_argument("--data", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--experiment", required=True, help="in MLflow")
    parser.add_argument("--trials", type=int, required=True, help="the first so many settings")
    parser.add_argument("--epochs", type=int, required=True)
    arguments = parser.parse_args()

    tracking_uri = f"sqlite:///{os.path.abspath('mlflow.db')}"
    trainable = tune.with_parameters(
        train,
        network=arguments.network,
        root=arguments.data,
        epochs=arguments.epochs,
        tracking_uri=tracking_uri,
        experiment=arguments.experiment,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1, "gpu": GPUS_PER_TRIAL}),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=arguments.trials,
            search_alg=BasicVariantGenerator(
                points_to_evaluate=mnist.SETTINGS[: arguments.trials]
            ),
        ),
        run_config=tune.RunConfig(
            storage_path=os.path.abspath("ray_results"),
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=tracking_uri, experiment_name=arguments.experiment
                )
            ],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    print(results.get_best_result().config)


if __name__ == "__main__":
    main()
