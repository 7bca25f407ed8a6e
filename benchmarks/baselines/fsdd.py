"""Spoken digits (FSDD): spectra that are computed once, two networks, batches of like lengths."""

import math
import wave

import numpy as np
import pandas as pd
import torch
from batching import LengthBuckets
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader
from training import LOG_SMALL_MODEL, build_adam

BATCH_SIZE = 64
SAMPLE_RATE = 8_000
MAX_SAMPLES = 9_600
N_MELS = 40
LOG_MODEL, build_optimizer = LOG_SMALL_MODEL, build_adam
SPACE = {"learning_rate": (1e-4, 1e-1), "dropout": (0.0, 0.5)}
SETTINGS = [
    {"learning_rate": learning_rate, "dropout": dropout}
    for dropout in (0.1, 0.3)
    for learning_rate in (1e-3, 3e-3)
]


def mel_filters(n_fft):
    """Triangles of equal width on the mel scale, [n_mels, n_fft // 2 + 1]."""
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, N_MELS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0)


def read_spectrum(path, window, filters):
    """The log-mel spectrum of a clip, [T, n_mels]: windows of 25 ms, one every 10 ms."""
    with wave.open(path) as clip:
        samples = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")[:MAX_SAMPLES]
    samples = torch.from_numpy(samples.astype("float32") / 32768)
    spectrum = torch.stft(
        *(samples, 256, 80, len(window), window), pad_mode="constant", return_complex=True
    )
    return torch.log(filters @ spectrum.abs().square() + 1e-6).T


def pad(rows):
    """A batch of spectra as long as its longest, [B, n_mels, T], filled up with 0."""
    spectra, targets = zip(*rows, strict=True)
    return pad_sequence(spectra, batch_first=True).transpose(1, 2), torch.tensor(targets)


class Data:
    """Spectra of all clips, scaled by those of the training clips."""

    def __init__(self, root):
        table = pd.read_csv(f"{root}/fsdd/clips.csv")
        window, filters = torch.hann_window(200), mel_filters(256)
        spectra = [read_spectrum(f"{root}/fsdd/{file}", window, filters) for file in table.file]
        rows = list(zip(spectra, table.digit, table.split, strict=True))
        train = [(spectrum, digit) for spectrum, digit, split in rows if split == "train"]
        validation = [(spectrum, digit) for spectrum, digit, split in rows if split == "val"]
        frames = torch.cat([spectrum for spectrum, _ in train])
        mean, std = frames.mean(0), frames.std(0)
        self.train, self.validation = (
            [((spectrum - mean) / std, digit) for spectrum, digit in part]
            for part in (train, validation)
        )

    def train_loader(self):
        return self._loader(self.train, shuffle=True)

    def validation_loader(self):
        return self._loader(self.validation)

    def _loader(self, rows, shuffle=False):
        lengths = torch.tensor([len(spectrum) for spectrum, _ in rows])
        return DataLoader(
            rows, batch_sampler=LengthBuckets(lengths, BATCH_SIZE, shuffle), collate_fn=pad
        )


def lengths_of(frames):
    """Frames of each spectrum: those after its end are 0."""
    return (frames != 0).any(1).sum(1)


class Cnn(nn.Module):
    """Three blocks of 16, 32 and 64 channels; the mean and the maximum over time, band by band."""

    def __init__(self, dropout):
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding="same", bias=False),
                    nn.BatchNorm2d(after),
                    nn.MaxPool2d(2, ceil_mode=True),
                    nn.ReLU(),
                )
                for before, after in ((1, 16), (16, 32), (32, 64))
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * 64 * N_MELS // 8, 10)

    def forward(self, frames):
        maps = self.blocks(frames[:, None]).flatten(1, 2)
        lengths = (lengths_of(frames) + 7) // 8
        is_frame = (torch.arange(maps.shape[2], device=maps.device) < lengths[:, None])[:, None]
        mean = (maps * is_frame).sum(2) / lengths[:, None]
        highest = maps.masked_fill(~is_frame, float("-inf")).amax(2)
        return self.output(self.dropout(torch.cat([mean, highest], 1)))


class Gru(nn.Module):
    """A GRU that reads both ways, its largest outputs over time."""

    def __init__(self, dropout):
        super().__init__()
        self.gru = nn.GRU(N_MELS, 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * 64, 10)

    def forward(self, frames):
        packed = pack_padded_sequence(
            *(self.dropout(frames.transpose(1, 2)), lengths_of(frames).cpu()),
            batch_first=True,
            enforce_sorted=False,
        )
        outputs, _ = pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, padding_value=float("-inf")
        )
        return self.output(self.dropout(outputs.amax(1)))


NETWORKS = {"cnn": Cnn, "gru": Gru}


def build_model(network, setting, data):
    """One of the two."""
    return NETWORKS[network](setting["dropout"])
