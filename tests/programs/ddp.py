"""Data-parallel training on CPUs.

torchrun --nproc-per-node 2 ddp.py --lr 0.1 --epochs 5
"""

import argparse
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def main() -> None:
    parser = argparse.ArgumentParser(description="DDP on CPUs over gloo")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--bs", type=int, default=32, help="rows of one process in a batch")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to rest after a batch")
    args = parser.parse_args()

    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(args.seed)
    centers = 2 * torch.randn(5, 10)
    labels = torch.randint(5, (2000,))
    points = centers[labels] + 1.5 * torch.randn(2000, 10)
    train = TensorDataset(points[:1500], labels[:1500])
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(
        train, seed=args.seed
    )
    loader = DataLoader(train, batch_size=args.bs, sampler=sampler)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 5))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    if rank == 0:
        print(f"training on {world} processes", flush=True)

    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        losses = torch.zeros(1)
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses += loss.detach()
            time.sleep(args.delay)
        dist.all_reduce(losses)
        with torch.no_grad():
            guesses = net(points[1500:]).argmax(dim=1)
        accuracy = (guesses == labels[1500:]).float().mean().item()
        mean = losses.item() / (world * len(loader))
        if rank == 0:
            print(f"epoch: {epoch + 1} | loss: {mean:.4f} | val_acc: {accuracy:.4f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
