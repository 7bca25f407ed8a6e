"""What a trial costs besides its training, as the history grows.

    python benchmarks/asking.py --repeats 5

Timed is what a worker does for a trial before and after it trains: claim it, draw its settings,
write them and the trial's start, and write its end, through sweeper's own study and claim with all
their locks and durable writes. Nothing is trained, and the report of the one epoch is not timed.
The space is flat, of six parameters. The history is there before: finished trials of random
settings, in a journal file or in PostgreSQL. Trials that are measured join it, so the shortest one
grows to a multiple. Processes have read the history before the clock starts.

With 16 workers, all ask at once, as if training took no time, on however few cores: the samplers
wait for cores more than for locks. So a row gives what each worker waits for its trial, and the
time until all are done by the number of trials, which is what counts beside a study's training.
What is not done in time is given as such.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from crew import LIMIT_S, Cell, Crew
from long_study import LongStudy
from postgres_server import storages
from results import describe_machine, render_facts, render_table, write_section

#: The dear ones first, while the history is shortest.
SAMPLERS = ("gp", "conditional_gp", "tpe", "random")
HISTORIES = (10, 1_000, 10_000)
N_WORKERS = 16


@dataclass(frozen=True)
class Row:
    """What one worker measured, and what all did that asked at once; None if not in time."""

    storage: str
    n_before: int
    sampler: str
    alone: Cell | None
    together: Cell | None

    def render(self) -> list[str]:
        """In milliseconds: a trial of one worker, of each of many, of many by their number."""
        over = f"over {LIMIT_S:.0f} s"
        milliseconds = [over, over, over]
        if self.alone is not None:
            milliseconds[0] = f"{median(self.alone.seconds) * 1000:.0f}"
        if self.together is not None:
            milliseconds[1] = f"{median(self.together.seconds) * 1000:.0f}"
            milliseconds[2] = f"{self.together.elapsed_s / N_WORKERS * 1000:.0f}"
        return [self.storage, f"{self.n_before:,}", self.sampler, *milliseconds]


def measure(folder: Path, storage: str, title: str, n_before: int, n_repeats: int) -> list[Row]:
    """A row for each sampler, on a study of its own."""
    study = LongStudy(folder, storage, n_before, len(SAMPLERS) * (n_repeats + N_WORKERS))
    study.begin()
    crew = Crew(study, N_WORKERS)
    try:
        alone = {sampler: crew.measure(sampler, 1, n_repeats) for sampler in SAMPLERS}
        # Where one worker takes too long, so do many.
        together = {s: cell and crew.measure(s, N_WORKERS, 1) for s, cell in alone.items()}
    finally:
        crew.end()
    return [Row(title, n_before, s, alone[s], together[s]) for s in SAMPLERS]


def render(rows: Sequence[Row], n_repeats: int) -> str:
    """All rows as a table."""
    head = ["storage", "finished trials", "sampler", "one worker"]
    head += [f"each of {N_WORKERS} workers", "all of them, a trial"]
    return (
        "Milliseconds a trial from its claim to its end, without training, by finished trials "
        f"before it: median of n = {n_repeats} trials of one worker; median of one trial each of "
        f"{N_WORKERS} workers that ask at once; and their time together by the number of trials. "
        "What is measured joins the history, so the shortest one grows tenfold down its rows."
        f"\n\n{render_table(head, [row.render() for row in rows])}"
    )


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="trials of the one worker")
    n_repeats = parser.parse_args().repeats
    os.environ["OMP_NUM_THREADS"] = "1"
    facts = describe_machine(f"python benchmarks/asking.py --repeats {n_repeats}")
    rows: list[Row] = []
    with TemporaryDirectory() as name, storages(Path(name) / "postgres") as addresses:
        for title, storage in addresses.items():
            for n_before in HISTORIES:
                for row in measure(Path(name), storage, title, n_before, n_repeats):
                    print(", ".join(row.render()), flush=True)
                    rows.append(row)
    body = f"{render(rows, n_repeats)}\n\n{render_facts(facts)}"
    write_section("Asking, claiming, ending a trial", body)
    print(body)


if __name__ == "__main__":
    main()
