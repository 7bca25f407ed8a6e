"""Where the time of sweeper's workers goes in the eight fixed trials: what there is left to gain.

    python benchmarks/worker_profile.py --data DIR

``sweeper run`` on ``studies/mlp_trials.yaml`` and on ``studies/cnn_trials.yaml``, each in an empty
folder, while py-spy looks at every process's Python stack fifty times a second, without stopping
it. Of its samples those count that lie below a worker's claim of a trial, from all workers
together. A frame of Python stands for all that torch does below it: backward is one.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from contenders import BASELINES_PYTHON, clean_environment
from mnist import add_data_option, fetch_mnist
from results import HERE, describe_machine, render_facts, render_table, write_section

RATE_HZ = 50
PY_SPY = Path(BASELINES_PYTHON).with_name("py-spy")
#: The frame below which a worker is busy with a trial.
_WORK = "Worker._work_once"
#: Innermost frames that the table names; the others are summed.
_SHOWN = 10

#: Frames from the outermost to the innermost, each "name (file:line)".
Stack = tuple[str, ...]


def record(study: Path, data: Path) -> Counter[Stack]:
    """Run a study to its end; how often each stack was seen in a worker at work.

    Raises:
        SystemExit: If the run fails, or py-spy saw no worker.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(study, folder)
        profiler = [
            str(PY_SPY),
            "record",
            "--subprocesses",
            "--nonblocking",
            "--rate",
            str(RATE_HZ),
        ]
        profiler += ["--format", "raw", "--output", "stacks.txt", "--"]
        done = subprocess.run(
            [*profiler, sys.executable, "-m", "sweeper", "run", study.name],
            cwd=folder,
            env=clean_environment() | {"SWEEPER_DATA": str(data)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stacks = folder / "stacks.txt"
        seen = read(stacks) if stacks.exists() else Counter[Stack]()
    if done.returncode or not seen:
        sys.exit(f"nothing was recorded of {study.name}:\n{done.stdout[-4000:]}")
    return seen


def read(stacks: Path) -> Counter[Stack]:
    """How often a worker was seen at each stack, without the frames above its work."""
    seen = Counter[Stack]()
    for line in stacks.read_text(encoding="utf-8").splitlines():
        text, _, n_samples = line.rpartition(" ")
        frames = tuple(text.split(";"))
        depths = [depth for depth, frame in enumerate(frames) if frame.startswith(_WORK)]
        if depths:
            seen[frames[depths[0] :]] += int(n_samples)
    return seen


def share_of(seen: Counter[Stack], function: str) -> float:
    """Share of the samples in which a function is on the stack, in [0, 1]."""
    within = (n for stack, n in seen.items() if any(frame.startswith(function) for frame in stack))
    return sum(within) / seen.total()


def render_profile(study: Path, seen: Counter[Stack]) -> str:
    """A sentence on the parts of a trial and a table of the innermost frames."""
    innermost = Counter[str]()
    for stack, n_samples in seen.items():
        innermost[re.sub(r":\d+\)$", ")", stack[-1])] += n_samples
    shown = innermost.most_common(_SHOWN)
    rows = [[f"`{frame}`", f"{n / seen.total():.1%}"] for frame, n in shown]
    if len(innermost) > _SHOWN:
        rest = 1 - sum(n for _, n in shown) / seen.total()
        rows.append([f"{len(innermost) - _SHOWN} others", f"{rest:.1%}"])
    learning = share_of(seen, "EagerLearner._train_batch")
    evaluating = share_of(seen, "EagerLearner._evaluate_batch")
    return (
        f"`{study.name}`: of {seen.total():,} samples of workers with a trial "
        f"{learning:.1%} train_batch and {evaluating:.1%} evaluate_batch.\n\n"
    ) + render_table(["innermost Python frame", "share"], rows)


def main() -> None:
    """Record, print and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_data_option(parser)
    data = fetch_mnist(parser.parse_args().data)
    if not PY_SPY.exists():
        sys.exit(f"{PY_SPY}: py-spy is not there; make it with `make baselines`")
    facts = describe_machine("python benchmarks/worker_profile.py")
    studies = [HERE / "studies" / f"{name}_trials.yaml" for name in ("mlp", "cnn")]
    profiles = [render_profile(study, record(study, data)) for study in studies]
    body = "\n\n".join([*profiles, render_facts(facts)])
    write_section("A worker's time in the fixed trials", body)
    print(body)


if __name__ == "__main__":
    main()
