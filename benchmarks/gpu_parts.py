"""The measurements of ``gpu_check.py``: each in processes of its own, within a limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import yaml
from contenders import clean_environment
from gpu_cases import Before, Sizes, SpanCase, StepCase
from gpu_spans import Order, Span, extrapolated, run_span
from gpu_table import Figure
from gpu_trials import study_text
from results import HERE, render_spread

from sweeper.timing import Entry, render_seconds

ROOT = HERE.parent


@dataclass(frozen=True)
class Place:
    """Where all is measured.

    Attributes:
        device: ``cuda``, the first one that is visible, or ``cpu``.
        baseline: Root of sweeper at 2bacb41.
        data: Folder that holds MNIST/raw.
        out: Folder of what is found.
        scratch: Folder for what is not kept.
    """

    device: str
    baseline: Path
    data: Path
    out: Path
    scratch: Path

    @property
    def printed(self) -> Path:
        """Takes what is printed by all that is started."""
        return self.out / "printed.txt"

    @property
    def environment(self) -> dict[str, str]:
        """Of what is started, beside that of this process."""
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        visible = first if self.device == "cuda" else ""
        return {"CUDA_VISIBLE_DEVICES": visible, "SWEEPER_DATA": str(self.data)}


def span_name(case: SpanCase, before: Before | None = None) -> str:
    """Of a figure."""
    return f"span, {case.what}" if before is None else f"span before, {case.what}, {before.words}"


def output_of(
    place: Place, command: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> tuple[int, str]:
    """Exit code and standard output of a command, which ends with all that it started.

    Args:
        place: Of the measurement.
        command: To run, in the root of the repository.
        environment: Beside that of this process and of the place.
        limit_s: That it may take.

    Raises:
        TimeoutError: If it takes longer.
    """
    environment = {**clean_environment(), **place.environment, **environment}
    environment["PYTHONUNBUFFERED"] = "1"  # for what is killed
    with (
        tempfile.TemporaryFile("w+") as output,
        place.printed.open("a") as printed,
    ):
        print("$", *command, file=printed, flush=True)
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=printed,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError from exc
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            text = output.read()
            printed.write(text)
    return code, text


def run_tests(place: Place, limit_s: float) -> Mapping[str, Figure]:
    """The tests that need a GPU, and no other file of tests."""
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "gpu", "-v"]
    command += ["-p", "no:cacheprovider", *files]
    code, text = output_of(place, command, {}, limit_s)
    summary = text.strip().splitlines()[-1].strip("= ") if text.strip() else f"exit {code}"
    if code or " passed" not in summary:
        return {"tests": Figure(status=summary)}
    return {"tests": Figure(value=1.0, note=summary)}


def _found(place: Place, command: Sequence[str], tree: Path, limit_s: float) -> list[Any]:
    """The lines of JSON that a program prints, run with a version of sweeper."""
    code, text = output_of(
        place,
        [sys.executable, *command],
        {"PYTHONPATH": os.pathsep.join(map(str, (tree, HERE)))},
        limit_s,
    )
    if code:
        raise ValueError(f"exit code {code}; printed.txt has what it said")
    return [json.loads(line) for line in text.splitlines()]


def measure_steps_before(sizes: Sizes, place: Place, limit_s: float) -> Mapping[str, Figure]:
    """Steps a second of one trial at a time, by 2bacb41."""
    asked = json.dumps([asdict(steps) for steps in sizes.steps_before.values()])
    program = str(HERE / "baselines" / "sweeper_2bacb41.py")
    found = _found(place, [program, place.device, asked], place.baseline, limit_s)
    return {
        f"steps before, {name}": Figure(
            value=mean(median(windows) for windows in trials),
            remark=_spread([rate for windows in trials for rate in windows]),
            raw=trials,
        )
        for name, trials in zip(sizes.steps_before, found, strict=True)
    }


def measure_steps(case: StepCase, place: Place, limit_s: float) -> Mapping[str, Figure]:
    """Steps a second of all trials together."""
    words = [place.device, json.dumps(asdict(case.steps)), str(case.pack)]
    [[rates, notes]] = _found(place, [str(HERE / "gpu_steps.py"), *words], ROOT, limit_s)
    remark = "; ".join([_spread(rates), *notes])
    return {f"steps, {case.what}": Figure(median(rates), remark=remark, raw=rates)}


def _spread(rates: Sequence[float]) -> str:
    return f"steps/s in {len(rates)} windows, median (min - max): {render_spread(rates, 0)}"


def measure_span(case: SpanCase, place: Place, limit_s: float) -> Mapping[str, Figure]:
    """What this version takes."""
    order = Order(
        text=_text(case, ROOT, case.n_trials, case.n_epochs, {}),
        name=case.name,
        n_trials=case.n_trials,
        overrides=case.overrides,
        n_epochs=case.n_epochs,
    )
    span = _run(order, place, ROOT, limit_s)
    remark = f"`sweeper run {case.file} {' '.join(case.overrides)}`: {_describe(span)}"
    return {span_name(case): Figure(span.seconds, remark=remark, raw=asdict(span))}


def measure_span_before(
    case: SpanCase, before: Before, place: Place, limit_s: float
) -> Mapping[str, Figure]:
    """What 2bacb41 takes; where it would be long, it is computed from a shorter study."""
    n_trials, n_epochs = before.n_trials or case.n_trials, before.n_epochs or case.n_epochs
    key = "workers_per_device" if place.device == "cuda" else "workers"
    order = Order(
        text=_text(case, place.baseline, n_trials, n_epochs, {key: before.n_workers}),
        name=case.name,
        n_trials=n_trials,
        n_epochs=n_epochs,
    )
    span = _run(order, place, place.baseline, limit_s)
    seconds, note, words = span.seconds, "", ""
    if (n_trials, n_epochs) != (case.n_trials, case.n_epochs):
        assert case.n_epochs is not None
        seconds = extrapolated(
            span, n_trials=case.n_trials, n_epochs=case.n_epochs, n_workers=before.n_workers
        )
        note = f" (from {n_trials} x {n_epochs})"
        words = (
            f"computed from {n_trials} trials x {n_epochs} epochs, which took {span.seconds:.2f} "
            "s, each further trial and epoch being as long as those after the first: "
        )
    figure = Figure(seconds, note=note, remark=words + _describe(span), raw=asdict(span))
    return {span_name(case, before): figure}


def _text(
    case: SpanCase, tree: Path, n_trials: int, n_epochs: int | None, run: Mapping[str, int]
) -> str:
    """A study of fixed trials, or the file of that version of sweeper."""
    if case.model is not None:
        assert n_epochs is not None
        return study_text(case.name, case.model, n_trials=n_trials, n_epochs=n_epochs, run=run)
    plain = yaml.safe_load((tree / "studies" / case.file).read_text(encoding="utf-8"))
    plain["budget"]["trials"] = n_trials
    return yaml.safe_dump(plain, sort_keys=False)


def _run(order: Order, place: Place, tree: Path, limit_s: float) -> Span:
    with tempfile.TemporaryDirectory(dir=place.scratch, ignore_cleanup_errors=True) as folder:
        return run_span(
            order,
            tree=tree,
            folder=Path(folder),
            environment=place.environment,
            limit_s=limit_s,
            printed=place.printed,
        )


def _describe(span: Span) -> str:
    """Where the time of the workers went, once they had started."""
    spent = {name: seconds for name, seconds in span.ledger.items() if name != Entry.START}
    return f"{span.n_trials} trials, {span.n_epochs} epochs; {render_seconds(spent)}"
