"""The same trials with Lightning: a module, a data module, a trainer, its logger for MLflow.

It is written the way Lightning's guides show it, with its defaults; Optuna calls it trial by
trial. Its MLflow store is ``mlflow.db`` in the working directory.
"""

import argparse

import lightning
import mlflow
import optuna
from data_sets import DATA_SETS
from lightning.pytorch.loggers import MLFlowLogger
from torch.nn import functional as F

TRACKING_URI = "sqlite:///mlflow.db"


class Classifier(lightning.LightningModule):
    """A network, its loss and its optimiser."""

    def __init__(self, scenario, network, setting, data):
        super().__init__()
        self.scenario, self.setting = scenario, setting
        self.model = scenario.build_model(network, setting, data)

    def training_step(self, batch, _):
        inputs, targets = batch
        loss = F.cross_entropy(self.model(inputs), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(targets))
        return loss

    def validation_step(self, batch, _):
        inputs, targets = batch
        logits = self.model(inputs)
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        losses = {"val_loss": F.cross_entropy(logits, targets), "val_accuracy": accuracy}
        self.log_dict(losses, prog_bar=True, batch_size=len(targets))

    def configure_optimizers(self):
        n_updates = self.trainer.estimated_stepping_batches
        optimizer, schedule = self.scenario.build_optimizer(self.model, self.setting, n_updates)
        scheduler = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class DataModule(lightning.LightningDataModule):
    """Reads the data once for all trials."""

    def __init__(self, scenario, root):
        super().__init__()
        self.scenario, self.root, self.data = scenario, root, None

    def setup(self, stage=None):
        if self.data is None:
            self.data = self.scenario.Data(self.root)

    def train_dataloader(self):
        return self.data.train_loader()

    def val_dataloader(self):
        return self.data.validation_loader()


def objective(trial, scenario, network, data_module, experiment, epochs):
    """Train one trial and log it."""
    setting = {
        name: trial.suggest_float(name, low, high) for name, (low, high) in scenario.SPACE.items()
    }
    logger = MLFlowLogger(experiment, tracking_uri=TRACKING_URI, run_name=f"trial-{trial.number}")
    logger.log_hyperparams(setting)
    classifier = Classifier(scenario, network, setting, data_module.data)
    trainer = lightning.Trainer(max_epochs=epochs, logger=logger)
    trainer.fit(classifier, datamodule=data_module)
    example = next(iter(data_module.val_dataloader()))[0][:2]
    with mlflow.start_run(run_id=logger.run_id):
        mlflow.pytorch.log_model(
            classifier.model.cpu(),
            name="model",
            input_example=example.numpy(),
            **scenario.LOG_MODEL,
        )
    return trainer.callback_metrics["val_accuracy"].item()


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

    mlflow.set_tracking_uri(TRACKING_URI)
    scenario = DATA_SETS[arguments.data_set]
    data_module = DataModule(scenario, arguments.data)
    data_module.setup()
    study = optuna.create_study(direction="maximize")
    for setting in scenario.SETTINGS:
        study.enqueue_trial(setting)
    study.optimize(
        lambda trial: objective(
            *(trial, scenario, arguments.network, data_module),
            *(arguments.experiment, arguments.epochs),
        ),
        n_trials=arguments.trials,
    )
    print(study.best_params)


if __name__ == "__main__":
    main()
