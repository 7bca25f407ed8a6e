"""Waveforms as lists of samples. A served model reads them by a copy of this file beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The column of waveforms.
WAVEFORM = "waveform"


def read_rows(
    columns: Mapping[str, Sequence[Any]], strings: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Waveforms as a person has them -> those that a served model computes with.

    Args:
        columns: ``waveform``: of each row samples in [-1, 1], as many a second as in training.
        strings: ``longest``, samples that are looked at, and ``n_samples`` S, of a row.

    Returns:
        float32 [N, S], 0 after the end of a waveform.

    Raises:
        ValueError: If one is none, silence, or in whole numbers as files hold them.
    """
    found = list(columns[WAVEFORM])
    waves = np.zeros((len(found), strings["n_samples"]), np.float32)
    for row, given in enumerate(found):
        try:
            are_whole = np.asarray(given).dtype.kind in "iu"
            samples = np.asarray(given, np.float32)[: strings["longest"]]
        except (TypeError, ValueError, IndexError) as exc:
            raise ValueError(f"{WAVEFORM} in row {row + 1} is no list of numbers") from exc
        if are_whole and (np.abs(samples) > 1).any():  # louder than all that training heard
            raise ValueError(
                f"{WAVEFORM} in row {row + 1} has whole numbers; wanted are samples in [-1, 1]: "
                "divide those of 16 bits by 32768"
            )
        if samples.ndim != 1:
            raise ValueError(f"{WAVEFORM} in row {row + 1} has more than one channel")
        if not np.isfinite(samples).all():
            raise ValueError(f"{WAVEFORM} in row {row + 1}: a sample is not finite")
        if not samples.any():
            raise ValueError(f"{WAVEFORM} in row {row + 1} is silence alone")
        waves[row, : len(samples)] = samples
    return waves
