"""Plain loops over batches, the way the tutorials of torch show them."""

from importlib.metadata import version

import torch
from torch.nn import functional as F

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
#: Requirements take longer to infer than a small model to train, and so does an export, which
#: packed sequences do not allow.
LOG_SMALL_MODEL = {
    "pip_requirements": [f"torch=={version('torch')}"],
    "serialization_format": "pickle",
}


def build_adam(model, setting, n_updates):
    """Adam, its rate half a cosine down to zero."""
    optimizer = torch.optim.Adam(model.parameters(), lr=setting["learning_rate"])
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_updates)


def train_epoch(model, loader, optimizer, schedule, l1=0.0):
    """One pass; the mean loss of a sample."""
    model.train()
    total, n_samples = 0.0, 0
    for inputs, targets in loader:
        inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        if l1:
            loss = loss + l1 * sum(parameter.abs().sum() for parameter in model.parameters())
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(targets)
        n_samples += len(targets)
    return total / n_samples


@torch.no_grad()
def evaluate(model, loader):
    """Mean loss of a sample, and accuracy in [0, 1]."""
    model.eval()
    total, hits, n_samples = 0.0, 0, 0
    for inputs, targets in loader:
        inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
        logits = model(inputs)
        total += F.cross_entropy(logits, targets, reduction="sum").item()
        hits += (logits.argmax(dim=1) == targets).sum().item()
        n_samples += len(targets)
    return total / n_samples, hits / n_samples
