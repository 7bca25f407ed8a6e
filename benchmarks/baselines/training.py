"""What the baselines train: MNIST through a ``DataLoader``, two small networks, plain loops.

It is written the way the tutorials of torch and torchvision show it, with their defaults.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

BATCH_SIZE = 64
VALIDATION = 0.1  # of the training images
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
    """Loaders of nine tenths of the training images and of the rest."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    data = datasets.MNIST(root, train=True, download=True, transform=transform)
    train, validation = random_split(
        data, [1 - VALIDATION, VALIDATION], generator=torch.Generator().manual_seed(1)
    )
    return (
        DataLoader(train, batch_size=BATCH_SIZE, shuffle=True),
        DataLoader(validation, batch_size=BATCH_SIZE),
    )


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


def build_optimizer(model, learning_rate, l2):
    """SGD with momentum."""
    return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=l2)


def train_epoch(model, loader, optimizer, l1):
    """One pass; the mean loss of a sample."""
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
    """Mean loss of a sample, and accuracy in [0, 1]."""
    model.eval()
    total, hits = 0.0, 0
    for inputs, targets in loader:
        inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
        logits = model(inputs)
        total += F.cross_entropy(logits, targets, reduction="sum").item()
        hits += (logits.argmax(dim=1) == targets).sum().item()
    return total / len(loader.dataset), hits / len(loader.dataset)
