"""MNIST through a ``DataLoader`` and two small networks.

It is written the way the tutorials of torch and torchvision show it, with their defaults.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

BATCH_SIZE = 64
VALIDATION = 0.1  # of the training images
LOG_MODEL = {"serialization_format": "pt2"}  # as log_model does by itself
SPACE = {"learning_rate": (1e-3, 1e-1), "l1": (1e-7, 1e-3), "l2": (1e-7, 1e-2)}
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


class Data:
    """The training images, nine tenths to train on and the rest to validate."""

    def __init__(self, root):
        transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )
        data = datasets.MNIST(root, train=True, download=True, transform=transform)
        self.train, self.validation = random_split(
            data, [1 - VALIDATION, VALIDATION], generator=torch.Generator().manual_seed(1)
        )

    def train_loader(self):
        return DataLoader(self.train, batch_size=BATCH_SIZE, shuffle=True)

    def validation_loader(self):
        return DataLoader(self.validation, batch_size=BATCH_SIZE)


def build_mlp():
    """784-256-256-10."""
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


def build_cnn():
    """Two convolutions of 16 and 32 channels, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding="same"),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(32 * 7 * 7, 10),
    )


NETWORKS = {"mlp": build_mlp, "cnn": build_cnn}


def build_model(network, setting, data):
    """The same network in every trial."""
    return NETWORKS[network]()


def build_optimizer(model, setting, n_updates):
    """SGD with momentum, at a constant rate."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=setting["learning_rate"],
        momentum=0.9,
        weight_decay=setting["l2"],
    )
    return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
