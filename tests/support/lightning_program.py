"""Code of a user's who trains with Lightning: ``train(params, trial)``, and rows in ``rows.csv``.

A study is given this file as it is. With ``$BATCH_S`` set, each batch takes so many seconds.
"""

import csv
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sweeper.integrations import LightningCallback
from sweeper.training.user_trial import UserTrial

N_WORDS = 512


class Texts(L.LightningDataModule):
    """The last quarter of the rows validates."""

    def __init__(self, path: Path, batch_size: int) -> None:
        super().__init__()
        self.path = path
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        bags = torch.stack([as_bag(row["text"]) for row in rows])
        labels = torch.tensor([row["label"] == "positive" for row in rows]).long()
        n_train = len(rows) * 3 // 4
        self.training = TensorDataset(bags[:n_train], labels[:n_train])
        self.validation = TensorDataset(bags[n_train:], labels[n_train:])

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.training, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, batch_size=256)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()


def as_bag(text: str) -> Tensor:
    """How often each word is there."""
    words = [zlib.crc32(word.encode()) % N_WORDS for word in text.split()]
    return torch.bincount(torch.tensor(words), minlength=N_WORDS).float()


class Classifier(L.LightningModule):
    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(N_WORDS, 2)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        time.sleep(float(os.environ.get("BATCH_S", "0")))
        bags, labels = batch
        loss = nn.functional.cross_entropy(self.net(bags), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        bags, labels = batch
        outputs = self.net(bags)
        self.log("val_loss", nn.functional.cross_entropy(outputs, labels))
        self.log("val_accuracy", (outputs.argmax(1) == labels).float().mean())
        self.log("updates", float(self.global_step))

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.log("rate", self.trainer.optimizers[0].param_groups[0]["lr"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])


def fit(
    trial: UserTrial,
    model: L.LightningModule,
    data: L.LightningDataModule,
    *,
    callbacks: Sequence[L.Callback] = (),
    **arguments: Any,
) -> L.Trainer:
    sweep = LightningCallback(trial)
    trainer = L.Trainer(
        callbacks=[sweep, *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        **{**sweep.trainer_arguments, **arguments},
    )
    trainer.fit(model, data, ckpt_path=sweep.checkpoint)
    return trainer


def train(params: Mapping[str, Any], trial: UserTrial) -> None:
    settings = params["train"]
    fit(
        trial,
        Classifier(settings["learning_rate"]),
        Texts(Path("rows.csv"), settings["batch_size"]),
        max_epochs=settings["epochs"],
    )
