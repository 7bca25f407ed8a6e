"""Many agents on one study: trials a second beside what waiting alone allows.

    python benchmarks/agents.py

Agents of one worker each, as an array of cluster jobs has them, in one shared folder; trials wait
a second and report one number. When every agent has finished a trial, trials are counted for a
while. An agent that waited alone would do one a second. Claim and tell is what a trial spends on
looking for work, asking the sampler, and writing its start, its epoch and its end.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import yaml
from contenders import clean_environment
from idle_trials import load_study
from postgres_server import proxied, storages
from results import HERE, describe_machine, render_facts, render_table, write_section

from sweeper.config.reader import load_study as load_spec
from sweeper.paths import RunPaths
from sweeper.study.attributes import Attr, Owner
from sweeper.study.create import load_study_from_storage
from sweeper.study.study import SweepStudy

AGENTS = (1, 2, 4, 8, 16, 32)
_PATIENCE_S = 180.0
#: More trials than any measurement reaches.
_GOAL = 100_000


@dataclass(frozen=True)
class Pace:
    """What some agents did together in ``seconds``.

    Attributes:
        n_agents: Of one worker each.
        n_trials: That finished.
        seconds: In which they were counted.
        costs_s: Claim and tell of each, in seconds.
    """

    n_agents: int
    n_trials: int
    seconds: float
    costs_s: Sequence[float]

    @property
    def rate(self) -> float:
        """Trials a second."""
        return self.n_trials / self.seconds


@contextmanager
def agents_at_work(folder: Path, n_agents: int) -> Iterator[None]:
    """So many commands on ``study.yaml``; they are told to stop at the end."""
    with (folder / "output").open("ab") as output:
        agents = [
            subprocess.Popen(
                [sys.executable, "-m", "sweeper", "run", "study.yaml"],
                cwd=folder,
                env=clean_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for _ in range(n_agents)
        ]
    try:
        yield
    finally:
        for agent in agents:
            agent.send_signal(signal.SIGTERM)
        for agent in agents:
            try:
                agent.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(agent.pid, signal.SIGKILL)


def measure(storage: str, n_agents: int, seconds: float) -> Pace | str:
    """Let some agents work on a new study, and count; what they say if not all come to work."""
    with tempfile.TemporaryDirectory(prefix="bench", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        plain = dict(load_study("bookkeeping", n_trials=_GOAL))
        # A name of its own, as a database and its proxy hold the same studies.
        plain |= {"name": folder.name, "run": {"workers": 1}, "storage": storage}
        (folder / "study.yaml").write_text(yaml.safe_dump(plain))
        (folder / "idle.py").write_text((HERE / "studies" / "idle.py").read_text())
        with agents_at_work(folder, n_agents):
            study = await_all(folder, n_agents)
            if study is None:
                return last_trouble((folder / "output").read_text())
            before, begun = finished(study), time.monotonic()
            time.sleep(seconds)
            after, elapsed_s = finished(study), time.monotonic() - begun
    costs = [cost for number, (_, cost) in after.items() if number not in before]
    return Pace(n_agents, len(costs), elapsed_s, costs)


def await_all(folder: Path, n_agents: int) -> SweepStudy | None:
    """The study, once each of its agents has finished a trial; None if that is never."""
    spec = load_spec(folder / "study.yaml")
    deadline_s = time.monotonic() + _PATIENCE_S
    study = None
    while time.monotonic() < deadline_s:
        study = study or load_study_from_storage(spec, RunPaths(folder / "mlruns", spec.name))
        if study and len({agent for agent, _ in finished(study).values()}) == n_agents:
            return study
        time.sleep(1)
    return None


def last_trouble(output: str) -> str:
    """What an agent could not use, and why."""
    troubles = [line for line in output.splitlines() if "cannot be" in line]
    return troubles[-1].partition(" What it held")[0] if troubles else "nothing"


def finished(study: SweepStudy) -> dict[int, tuple[str, float]]:
    """Finished trials by number: their agent, and the seconds of claim and tell."""
    found = {}
    for trial in study.trials():
        seconds = trial.user_attrs.get(Attr.SECONDS)
        if trial.state.is_finished() and seconds is not None:
            owner = Owner.of(trial)
            cost = seconds.get("claim", 0.0) + seconds.get("report", 0.0)
            found[trial.number] = (owner.agent, cost)
    return found


def render(measured: Sequence[tuple[str, int, Pace | str]]) -> str:
    """The paces as a table, and below it why some have none."""
    rows = [
        [
            storage,
            str(pace.n_agents),
            f"{pace.rate:.1f}",
            f"{pace.rate / pace.n_agents:.0%}",
            f"{median(pace.costs_s) * 1000:.0f}",
            f"{quantiles(pace.costs_s, n=100)[98] * 1000:.0f}",
            str(pace.n_trials),
        ]
        for storage, _, pace in measured
        if isinstance(pace, Pace)
    ]
    failures = [
        f"\n\n{storage}, {n_agents} agents: not all came to work within {_PATIENCE_S:.0f} s. One "
        f"of them said: {said}"
        for storage, n_agents, said in measured
        if isinstance(said, str)
    ]
    head = ["storage", "agents", "trials a second", "of the waiting's"]
    head += ["claim and tell, median ms", "p99 ms", "n trials"]
    return (
        "Agents of one worker on one machine, trials that wait 1 s; an agent that only waited "
        "would do one a second. Tracking on, random sampler.\n\n"
        + render_table(head, rows)
        + "".join(failures)
    )


def main() -> None:
    """Measure, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of counting, each time")
    seconds = parser.parse_args().seconds
    facts = describe_machine(f"python benchmarks/agents.py --seconds {seconds:g}")
    measured = []
    with (
        tempfile.TemporaryDirectory() as name,
        storages(Path(name)) as urls,
        proxied(urls["PostgreSQL"]) as proxy,
    ):
        urls["PostgreSQL behind a proxy"] = proxy.url
        for n_agents in AGENTS:
            for storage, url in urls.items():
                pace = measure(url, n_agents, seconds)
                said = f"{pace.rate:.2f} a second" if isinstance(pace, Pace) else pace
                print(f"{n_agents} agents, {storage}: {said}", flush=True)
                measured.append((storage, n_agents, pace))
    measured.sort(key=lambda row: (list(urls).index(row[0]), row[1]))
    body = f"{render(measured)}\n\n{render_facts(facts)}"
    write_section("Many agents on one study", body)
    print(body)


if __name__ == "__main__":
    main()
