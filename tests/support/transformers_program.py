"""Code of a user's who trains with Hugging Face's Trainer: ``train(params, trial)``.

A study is given this file as it is, and rows in ``rows.csv``. The Transformer is tiny and begins
with random weights. With ``$BATCH_S`` set, each batch takes so many seconds.
"""

import csv
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from sweeper.integrations import TransformersCallback
from sweeper.training.user_trial import UserTrial

N_WORDS = 512
LENGTH = 24


class Texts(Dataset[dict[str, Tensor]]):
    """The last quarter of the rows validates."""

    def __init__(self, path: Path, *, is_training: bool) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        n_train = len(rows) * 3 // 4
        self.rows = rows[:n_train] if is_training else rows[n_train:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.rows[index]
        words = [1 + zlib.crc32(word.encode()) % (N_WORDS - 1) for word in row["text"].split()]
        ids = torch.zeros(LENGTH, dtype=torch.long)
        ids[: len(words)] = torch.tensor(words[:LENGTH])
        return {
            "input_ids": ids,
            "attention_mask": (ids > 0).long(),
            "labels": torch.tensor(int(row["label"] == "positive")),
        }


class SlowTrainer(Trainer):
    def training_step(self, *args: Any, **named: Any) -> Tensor:
        time.sleep(float(os.environ.get("BATCH_S", "0")))
        loss: Tensor = super().training_step(*args, **named)
        return loss


def measure(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def fit(
    trial: UserTrial, path: Path, *, callbacks: Sequence[TrainerCallback] = (), **arguments: Any
) -> Trainer:
    sweep = TransformersCallback(trial)
    config = BertConfig(
        vocab_size=N_WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
    )
    torch.manual_seed(trial.seed)
    trainer = SlowTrainer(
        model=BertForSequenceClassification(config),
        args=TrainingArguments(
            disable_tqdm=True,
            **{"eval_strategy": "epoch", **sweep.training_arguments, **arguments},
        ),
        train_dataset=Texts(path, is_training=True),
        eval_dataset=Texts(path, is_training=False),
        compute_metrics=measure,
        callbacks=[*callbacks, sweep],
    )
    trainer.train(resume_from_checkpoint=sweep.checkpoint)
    return trainer


def train(params: Mapping[str, Any], trial: UserTrial) -> None:
    settings = params["train"]
    fit(
        trial,
        Path("rows.csv"),
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        per_device_train_batch_size=settings["batch_size"],
        logging_strategy="epoch",
    )
