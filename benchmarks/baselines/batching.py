"""Batches without needless work: cut out of tensors, or of rows of about the same length."""

import torch


class Rows:
    """Batches cut out of tensors that lie in memory, without a Python object for each row."""

    def __init__(self, inputs, targets, batch_size, shuffle=False):
        self.inputs, self.targets = inputs, targets
        self.batch_size, self.shuffle = batch_size, shuffle

    def __len__(self):
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self):
        order = torch.arange(len(self.targets))
        if self.shuffle:
            order = order[torch.randperm(len(order))]
        for rows in order.split(self.batch_size):
            yield self.inputs[rows], self.targets[rows]


class LengthBuckets:
    """Rows of batches: shuffled, then sorted by length within windows of 32 batches."""

    def __init__(self, lengths, batch_size, shuffle=False):
        self.lengths, self.batch_size, self.shuffle = lengths, batch_size, shuffle

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self):
        if not self.shuffle:
            yield from self.lengths.argsort().split(self.batch_size)
            return
        batches = []
        for window in torch.randperm(len(self.lengths)).split(32 * self.batch_size):
            batches += window[self.lengths[window].argsort()].split(self.batch_size)
        for at in torch.randperm(len(batches)):
            yield batches[at]
