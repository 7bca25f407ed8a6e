"""Studies of a function that trains with somebody else's trainer, and the module it is in."""

from typing import Literal, NamedTuple, get_args

from sweeper.commands.init.template import BUDGET, HEAD

Trainer = Literal["lightning", "transformers"]
TRAINERS: tuple[Trainer, ...] = get_args(Trainer)


class _Texts(NamedTuple):
    """Of the module, and what the study says of it."""

    metric: str
    rest: str
    module: str


def render_trainer_study(trainer: Trainer, module: str) -> tuple[str, str]:
    """The study file, and the module of that name beside it."""
    texts = _TEXTS[trainer]
    study = (
        HEAD.format(about=f" of a {_TITLES[trainer]}, made in {module}.py")
        + f"objective: {{metric: {texts.metric}, direction: maximize}}\n"
        + BUDGET
        + f"\ntrain:\n  function: {module}:train\n"
        + texts.rest
    )
    return study, texts.module


_TITLES: dict[Trainer, str] = {
    "lightning": "LightningModule and its DataModule",
    "transformers": "Transformer and Hugging Face's Trainer",
}
_LIGHTNING = '''\
"""Trains the trials of a sweeper study with Lightning."""

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from sweeper.integrations import LightningCallback


class Digits(L.LightningDataModule):
    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        images, labels = load_digits(return_X_y=True)
        rows = TensorDataset(torch.tensor(images / 16).float(), torch.tensor(labels))
        self.parts = random_split(rows, [0.8, 0.2], torch.Generator().manual_seed(0))

    def train_dataloader(self):
        return DataLoader(self.parts[0], self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.parts[1], 256)


class Classifier(L.LightningModule):
    def __init__(self, width, dropout, learning_rate):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10)
        )

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, batch_idx):
        outputs = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(outputs, batch[1]))
        self.log("val_accuracy", (outputs.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate)


def train(params, trial):
    settings = params["train"]
    model = Classifier(settings["width"], settings["dropout"], settings["learning_rate"])
    sweep = LightningCallback(trial)
    trainer = L.Trainer(
        max_epochs=settings["epochs"],
        callbacks=[sweep],
        enable_progress_bar=False,
        **sweep.trainer_arguments,
    )
    trainer.fit(model, Digits(settings["batch_size"]), ckpt_path=sweep.checkpoint)
'''
_TRANSFORMERS = '''\
"""Trains the trials of a sweeper study with Hugging Face's Trainer."""

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from sweeper.integrations import TransformersCallback

N_WORDS, LENGTH = 100, 16


class Sentences(Dataset):
    """Made up, for yours: a sentence is of class 1 if more of its words are high than low."""

    def __init__(self, n_rows, seed):
        generator = torch.Generator().manual_seed(seed)
        self.words = torch.randint(N_WORDS, (n_rows, LENGTH), generator=generator)

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        words = self.words[index]
        return {"input_ids": words, "labels": (words >= N_WORDS // 2).float().mean() > 0.5}


def collate(rows):
    return {
        "input_ids": torch.stack([row["input_ids"] for row in rows]),
        "labels": torch.stack([row["labels"] for row in rows]).long(),
    }


def measure(predicted):
    return {"accuracy": (predicted.predictions.argmax(-1) == predicted.label_ids).mean()}


def train(params, trial):
    settings = params["train"]
    config = BertConfig(
        vocab_size=N_WORDS,
        hidden_size=settings["width"],
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * settings["width"],
        max_position_embeddings=LENGTH,
        num_labels=2,
    )
    sweep = TransformersCallback(trial)
    trainer = Trainer(
        model=BertForSequenceClassification(config),  # or .from_pretrained("...")
        args=TrainingArguments(
            num_train_epochs=settings["epochs"],
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            per_device_train_batch_size=settings["batch_size"],
            eval_strategy="epoch",
            logging_strategy="epoch",
            disable_tqdm=True,
            **sweep.training_arguments,
        ),
        data_collator=collate,
        train_dataset=Sentences(2000, seed=0),
        eval_dataset=Sentences(500, seed=1),
        compute_metrics=measure,
        callbacks=[sweep],
    )
    trainer.train(resume_from_checkpoint=sweep.checkpoint)
'''
_TEXTS: dict[Trainer, _Texts] = {
    "lightning": _Texts(
        "val_accuracy",
        """\
  epochs: 9
  batch_size: {choices: [32, 64, 128]}
  learning_rate: {low: 1e-4, high: 1e-1, log: true}
  width: {choices: [64, 128, 256]}
  dropout: {low: 0.0, high: 0.5}
""",
        _LIGHTNING,
    ),
    "transformers": _Texts(
        "eval_accuracy",
        """\
  epochs: 3
  batch_size: {choices: [16, 32]}
  learning_rate: {low: 1e-4, high: 1e-2, log: true}
  weight_decay: {low: 1e-6, high: 1e-1, log: true}
  width: {choices: [32, 64]}
""",
        _TRANSFORMERS,
    ),
}
