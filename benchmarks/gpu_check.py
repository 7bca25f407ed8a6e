"""What a GPU shows of many trials at once, each figure beside sweeper as it was at 2bacb41.

``scripts/gpu-check`` starts this in an environment that it has made, see there. Tests come first,
then what takes least; each part has a limit of its own, a part that fails stops no other, and all
that is known is written at once, so that a run which is cut off leaves what it has.
"""

import argparse
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gpu_cases import FULL, Sizes
from gpu_parts import (
    Place,
    measure_span,
    measure_span_before,
    measure_steps,
    measure_steps_before,
    run_tests,
    span_name,
)
from gpu_table import Figure, Row, Table
from mnist import put_mnist
from results import describe_machine

#: No part is begun with less.
_LEAST_S = 5.0
_OUT_OF_TIME = "not run: out of time"
_TESTS_LIMIT_S, _STEPS_LIMIT_S, _SPAN_LIMIT_S = 110.0, 45.0, 60.0


@dataclass(frozen=True)
class Part:
    """Something that is measured at one go.

    Attributes:
        names: Of the figures that it finds.
        limit_s: That it may take.
        measure: Takes the seconds that it has, finds the figures.
    """

    names: Sequence[str]
    limit_s: float
    measure: Callable[[float], Mapping[str, Figure]]


def parts_of(sizes: Sizes, place: Place) -> list[Part]:
    """All that is measured, in its order."""
    parts = [
        Part(["tests"], _TESTS_LIMIT_S, partial(run_tests, place)),
        Part(
            [f"steps before, {name}" for name in sizes.steps_before],
            _STEPS_LIMIT_S,
            partial(measure_steps_before, sizes, place),
        ),
    ]
    parts += [
        Part([f"steps, {case.what}"], _STEPS_LIMIT_S, partial(measure_steps, case, place))
        for case in sizes.steps
    ]
    for case in sizes.spans:
        parts.append(Part([span_name(case)], _SPAN_LIMIT_S, partial(measure_span, case, place)))
        parts += [
            Part(
                [span_name(case, before)],
                _SPAN_LIMIT_S,
                partial(measure_span_before, case, before, place),
            )
            for before in case.before
        ]
    return parts


def rows_of(sizes: Sizes) -> list[Row]:
    """The lines of the table, in the order in which their figures come."""
    steps = [
        Row(
            f"steps alone: {case.what}",
            f"steps, {case.what}",
            f"steps before, {case.before}",
            case.goal,
            "steps/s",
        )
        for case in sizes.steps
    ]
    spans = [
        Row(
            f"first step to last end: {case.what}, beside {before.words}",
            span_name(case),
            span_name(case, before),
            before.goal,
        )
        for case in sizes.spans
        for before in case.before
    ]
    return [Row("tests marked gpu", "tests", unit="tests"), *steps, *spans]


def run_parts(
    parts: Sequence[Part],
    table: Table,
    *,
    until_s: float,
    now: Callable[[], float] = time.time,
) -> None:
    """Measure one part after the other, until a moment in seconds of a clock."""
    failures = table.out / "failures.txt"
    for part in parts:
        left_s = until_s - now()
        if left_s < _LEAST_S:
            table.add(dict.fromkeys(part.names, Figure(status=_OUT_OF_TIME)))
            continue
        try:
            found = part.measure(min(part.limit_s, left_s))
        except Exception as exc:  # whatever it is, the others are measured
            is_late = isinstance(exc, TimeoutError)
            status = f"failed: over {part.limit_s:.0f} s" if is_late else "failed"
            if is_late and left_s < part.limit_s:
                status = "cut off: out of time"
            found = dict.fromkeys(part.names, Figure(status=status))
            with failures.open("a", encoding="utf-8") as file:
                file.write(f"{', '.join(part.names)}: {status}\n{traceback.format_exc()}\n")
        table.add(found)


def check(place: Place, *, sizes: Sizes, until_s: float, facts: Mapping[str, str]) -> bool:
    """Measure all that the time allows; whether every test passed and every goal is reached.

    Args:
        place: Where.
        sizes: What.
        until_s: When it must be over, in seconds since the Unix epoch.
        facts: What stands above the table.
    """
    table = Table(place.out, facts, rows_of(sizes))
    table.begin()
    run_parts(parts_of(sizes, place), table, until_s=until_s)
    table.end()
    return table.is_reached


def _driver() -> str:
    command = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total",
        "--format=csv,noheader",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"not known: {exc}"
    return done.stdout.strip().replace("\n", "; ") or f"not known: {done.stderr.strip()}"


def main() -> int:
    """Measure; 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of MNIST's gzip files")
    parser.add_argument("--baseline", type=Path, required=True, help="root of 2bacb41")
    parser.add_argument("--scratch", type=Path, required=True, help="folder that is deleted later")
    parser.add_argument("--until", type=float, required=True, help="seconds since the Unix epoch")
    given = parser.parse_args()
    images = put_mnist(given.scratch / "data", given.data)
    facts = describe_machine("scripts/gpu-check --wheels DIR --data DIR --out DIR")
    facts |= {"GPU, driver, memory": _driver(), "Images": images}
    place = Place("cuda", given.baseline, given.scratch / "data", given.out, given.scratch)
    return 0 if check(place, sizes=FULL, until_s=given.until, facts=facts) else 1


if __name__ == "__main__":
    sys.exit(main())
