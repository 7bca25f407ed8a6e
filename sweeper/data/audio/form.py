"""What clips are, as their cache entry keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.text import format_count


@dataclass(frozen=True)
class ClipForm:
    """What the files of clips hold, and what was made of them.

    Attributes:
        n_clips: Of all rows.
        median_s: Of a whole file, in the median.
        longest_s: Of the longest file.
        rates: Clips by their samples a second, which JSON knows as words.
        channels: Clips by their number of channels, as well.
        n_cut: Clips that are longer than ``max_seconds``.
        max_seconds: As the study file has it.
        sample_rate: To which they were brought, in Hz.
        n_mels: Bands of a frame.
        digest: SHA-256 of the content of all files, in hex.
    """

    n_clips: int
    median_s: float
    longest_s: float
    rates: Mapping[str, int]
    channels: Mapping[str, int]
    n_cut: int
    max_seconds: float
    sample_rate: int
    n_mels: int
    digest: str


def describe_clips(form: ClipForm) -> str:
    """What was found out about the clips, and what was done with those that are otherwise."""
    said = [
        f"{format_count(form.n_clips, 'clip')} of {form.median_s:.3g} s in the median, the "
        f"longest {form.longest_s:.3g} s"
    ]
    if form.n_cut:
        said.append(f"{form.n_cut:,} cut to {form.max_seconds:g} s, data.max_seconds")
    others = {rate: n for rate, n in form.rates.items() if int(rate) != form.sample_rate}
    if others:
        found = ", ".join(f"{rate} Hz in {n:,}" for rate, n in others.items())
        said.append(f"{found}, brought to {form.sample_rate} Hz")
    else:
        said.append(f"{form.sample_rate} Hz")
    if set(form.channels) == {"1"}:
        said.append("1 channel")
    else:
        found = ", ".join(f"{n_channels} in {n:,}" for n_channels, n in form.channels.items())
        said.append(f"channels: {found}, averaged")
    return f"{'; '.join(said)}; {form.n_mels} bands every 10 ms"
