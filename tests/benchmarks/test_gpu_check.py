"""scripts/gpu-check, less the GPU: what it counts, what it shows, and all of it on a CPU."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import gpu_check
import gpu_environment
import pytest
import torch
from gpu_cases import FULL, Before, Sizes, SpanCase, StepCase
from gpu_environment import SetupError, make_environment, unpack_baseline
from gpu_parts import Place
from gpu_spans import extrapolated, span_of
from gpu_steps import config_of, measure, study_of
from gpu_table import Figure, Row, Table
from gpu_trials import StepRate, Steps
from mnist import put_mnist, write_random
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from results import HERE

from sweeper.events import Ended, Event
from sweeper.trial import EpochMetrics, Outcome, TrialState
from tests.support.data_files import IDX_NAMES, gz_archives, idx_files

CPU = torch.device("cpu")
ROOT = HERE.parent


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_steps_are_counted_in_windows_from_where_every_trial_is_warm() -> None:
    clock = Clock()
    steps = Steps("mlp", n_trials=2, n_steps=10, window_s=100.0, n_windows=2)
    rate = StepRate(steps, CPU, clock)
    assert not rate.take(0, 10)
    assert not rate.take(1, 9)
    assert not rate.take(0, 11)  # trial 1 is not warm
    assert not rate.take(1, 10)
    assert not rate.take(0, 12)  # the first window begins: 22 steps
    clock.s = 4.0
    assert not rate.take(1, 20)
    assert not rate.take(0, 21)
    assert not rate.take(0, 22)  # it ends: 42
    clock.s = 6.0
    assert not rate.take(1, 60)
    assert rate.take(0, 32)  # the second one: 92
    assert rate.rates == [20 / 4.0, 50 / 2.0]


def test_a_window_that_would_take_too_long_ends_sooner() -> None:
    clock = Clock()
    rate = StepRate(Steps("mlp", 1, n_steps=10, window_s=3.0, n_windows=1), CPU, clock)
    rate.take(0, 10)
    clock.s = 2.9
    assert not rate.take(0, 11)
    clock.s = 3.2
    assert rate.take(0, 12)
    assert rate.rates == [2 / 3.2]


@pytest.mark.parametrize(("model", "pack"), [("mlp", 2), ("unlike mlp", 1)])
def test_steps_of_lanes_and_packs_are_counted_without_a_file(
    model: str, pack: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rates, notes = measure(Steps(model, n_trials=2, n_steps=2, n_windows=2), pack, CPU)
    assert (len(rates), notes) == (2, [])
    assert all(rate > 0 for rate in rates)
    assert list(tmp_path.iterdir()) == []


def test_unlike_trials_are_all_unlike_and_equal_ones_are_not() -> None:
    def widths(model: str) -> list[object]:
        study = study_of(Steps(model, n_trials=32, n_steps=1))
        configs = [config_of(study, number).model for number in range(32)]
        return [config.params["width"] for config in configs]

    assert len(set(widths("unlike mlp"))) == 32
    assert set(widths("mlp")) == {128}


def log_of(ended_s: float, *epochs_s: float) -> list[Event]:
    """A trial with epochs of two seconds that ended then."""
    values = {"val_accuracy": 0.5, "epoch_seconds": 2.0}
    epochs: list[Event] = [
        EpochMetrics(number, values, time_s) for number, time_s in enumerate(epochs_s, start=1)
    ]
    return [*epochs, Ended(ended_s, Outcome(TrialState.COMPLETE, None))]


def test_a_span_goes_from_the_first_step_to_the_last_end() -> None:
    span = span_of([log_of(110.0, 105.0, 109.0), log_of(107.0, 104.0, 106.0)], {"step": 1.0})
    assert span.seconds == 110.0 - (104.0 - 2.0)
    assert (span.n_trials, span.n_epochs) == (2, 4)
    assert span.seconds_a_trial == 3.0
    assert span.seconds_an_epoch == 3.0  # four and two


def test_a_longer_study_takes_as_long_as_further_trials_and_epochs_did() -> None:
    # Two trials of two epochs, one after the other; what the first took more is not repeated.
    span = span_of([log_of(108.0, 104.0, 107.0), log_of(114.0, 110.0, 113.0)], {})
    assert (span.seconds, span.seconds_a_trial, span.seconds_an_epoch) == (12.0, 6.0, 3.0)
    assert extrapolated(span, n_trials=2, n_epochs=2, n_workers=1) == 12.0
    assert extrapolated(span, n_trials=5, n_epochs=2, n_workers=1) == 12.0 + 3 * 6.0
    assert extrapolated(span, n_trials=5, n_epochs=4, n_workers=1) == 30.0 + 5 * 2 * 3.0
    assert extrapolated(span, n_trials=2, n_epochs=4, n_workers=2) == 12.0 + 2 * 2 * 3.0 / 2


ROWS = [
    Row("tests", "tests", unit="tests"),
    Row("steps of a", "a", "a before", 5, "steps/s"),
    Row("study b", "b", "b before", 3),
]


def lines(folder: Path) -> list[str]:
    """Of the table as it stands, below its head."""
    text = (folder / "table.md").read_text()
    return [line for line in text.splitlines() if line.startswith("|")][2:]


def test_a_table_grows_and_holds_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table(tmp_path, {"GPU": "an abacus"}, ROWS)
    table.begin()
    assert lines(tmp_path) == []
    table.add({"tests": Figure(1.0, note="3 passed")})
    assert "tests" in capsys.readouterr().out
    table.add({"a before": Figure(1000.0)})
    assert capsys.readouterr().out == ""
    table.add({"a": Figure(4900.0)})
    assert "4,900 steps/s" in capsys.readouterr().out
    table.add(
        {"b": Figure(2.0, remark="step 90 %"), "b before": Figure(6.0, note=" (from 4 x 2)")}
    )
    assert lines(tmp_path) == [
        "| tests | 3 passed |  |  |  |  |",
        "| steps of a | 4,900 steps/s | 1,000 steps/s | 4.9 x | >= 5 x | missed |",
        "| study b | 2.00 s | 6.00 s (from 4 x 2) | 3.0 x | >= 3 x | reached |",
    ]
    assert "- b: step 90 %" in (tmp_path / "table.md").read_text()
    assert "- GPU: an abacus" in (tmp_path / "table.md").read_text()
    assert "missed" in (tmp_path / "table.txt").read_text()
    raw = json.loads((tmp_path / "figures.json").read_text())
    assert raw["figures"]["b before"]["value"] == 6.0
    assert not table.is_reached
    table.add({"a": Figure(5000.0)})
    assert table.is_reached


def test_a_part_that_fails_or_has_no_time_stops_no_other(tmp_path: Path) -> None:
    def fails(limit_s: float) -> dict[str, Figure]:
        raise ZeroDivisionError("of a GPU")

    def hangs(limit_s: float) -> dict[str, Figure]:
        raise TimeoutError

    def part(name: str, measured: Callable[[float], dict[str, Figure]]) -> gpu_check.Part:
        return gpu_check.Part([name], 20.0, measured)

    def known(name: str, limit_s: float) -> dict[str, Figure]:
        return {name: Figure(limit_s)}

    parts = [part("tests", hangs), part("a before", fails), part("a", partial(known, "a"))]
    table = Table(tmp_path, {}, ROWS)
    gpu_check.run_parts(parts, table, until_s=1000.0, now=iter([0.0, 900.0, 990.0]).__next__)
    late = [part("b before", hangs), part("b", partial(known, "b"))]
    gpu_check.run_parts(late, table, until_s=1000.0, now=iter([990.0, 996.0]).__next__)
    assert lines(tmp_path) == [
        "| tests | failed: over 20 s |  |  |  |  |",
        "| steps of a | 10 steps/s | failed |  | >= 5 x |  |",
        "| study b | not run: out of time | cut off: out of time |  | >= 3 x |  |",
    ]
    assert "ZeroDivisionError: of a GPU" in (tmp_path / "failures.txt").read_text()
    assert not table.is_reached


def test_every_line_has_its_figures_and_they_come_in_its_order(tmp_path: Path) -> None:
    parts = gpu_check.parts_of(FULL, Place("cuda", tmp_path, tmp_path, tmp_path, tmp_path))
    names = [name for part in parts for name in part.names]
    rows = gpu_check.rows_of(FULL)
    wanted = {name for row in rows for name in (row.now, row.before) if name}
    assert sorted(names) == sorted(wanted)
    whole = [max(names.index(n) for n in (row.now, row.before) if n) for row in rows]
    assert whole == sorted(whole)


def test_mnist_is_unpacked_from_anywhere_below_a_folder(tmp_path: Path) -> None:
    packed = tmp_path / "carried" / "deeper"
    packed.mkdir(parents=True)
    for name, content in gz_archives().items():
        (packed / name).write_bytes(content)
    assert put_mnist(tmp_path / "data", tmp_path / "carried") == "MNIST"
    raw = tmp_path / "data" / "MNIST" / "raw"
    assert {name: (raw / name).read_bytes() for name in IDX_NAMES} == idx_files()
    (packed / f"{IDX_NAMES[1]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match="it holds no train-labels-idx1-ubyte.gz; leave"):
        put_mnist(tmp_path / "other", tmp_path / "carried")


def needed_by(names: Iterator[str]) -> set[str]:
    """Packages that they need, on Python 3.12, themselves included."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # of another system
            continue
        found.add(name)
        for requirement in map(Requirement, requires):
            marker, target = requirement.marker, {"extra": "", "python_version": "3.12"}
            if marker is None or marker.evaluate(target | {"python_full_version": "3.12.3"}):
                todo.append(requirement.name)
    return found


def test_the_wheels_are_all_that_a_machine_with_torch_lacks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = [Requirement(text).name for text in project["dependencies"]]
    needed = needed_by(iter([*ours, "pytest", "pytest-xdist", "hypothesis"]))
    needed -= needed_by(iter(["torch", "torchvision", "pandas", "scikit-learn"]))
    listed = [line for line in (HERE / "gpu_wheels.txt").read_text().splitlines() if line]
    assert listed[1:] == sorted(needed)
    constraints = (ROOT / "constraints.txt").read_text()
    pinned = map(canonicalize_name, re.findall(r"^([^=#\s]+)==", constraints, re.MULTILINE))
    assert needed <= set(pinned)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.slow
def test_without_a_gpu_it_says_so_and_does_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "gpu-check"),
        "--wheels",
        "w",
        "--out",
        "out",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check: this machine has no GPU that torch ")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    command = ["tar", "-C", str(ROOT), "-czf", str(tmp_path / "baseline.tar.gz"), "LICENSE"]
    subprocess.run(command, check=True)
    with pytest.raises(SetupError, match="it holds no sweeper as of 2bacb41; make it anew"):
        unpack_baseline(tmp_path, tmp_path, tmp_path / "scratch")


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """sweeper as it was, where the repository has it."""
    try:
        return unpack_baseline(tmp_path, tmp_path, tmp_path / "scratch")
    except SetupError as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("name", ["gpu_trials.py", "baselines/sweeper_2bacb41.py"])
def test_sweeper_as_it_was_has_what_is_imported_of_it(name: str, baseline: Path) -> None:
    for imported in ast.walk(ast.parse((HERE / name).read_text())):
        if isinstance(imported, ast.ImportFrom) and (imported.module or "").startswith("sweeper"):
            of = baseline.joinpath(*str(imported.module).split(".")).with_suffix(".py")
            defined = {getattr(each, "name", None) for each in ast.parse(of.read_text()).body}
            assert defined >= {alias.name for alias in imported.names}, of


def tiny_steps(model: str, n_trials: int = 1) -> Steps:
    return Steps(model, n_trials, n_steps=2, n_windows=1)


TINY = Sizes(
    steps_before={model: tiny_steps(model) for model in ("mlp", "unlike mlp", "cnn")},
    steps=[
        StepCase("one MLP", tiny_steps("mlp"), 1, "mlp", 0.0),
        StepCase("2 MLPs", tiny_steps("mlp", 2), 2, "mlp", 0.0),
        StepCase("2 unlike MLPs", tiny_steps("unlike mlp", 2), 1, "unlike mlp", 0.0),
        StepCase("2 CNNs", tiny_steps("cnn", 2), 1, "cnn", 0.0),
    ],
    spans=[
        SpanCase("mnist.yaml", "mnist", None, 2, None, ["run.lanes=2"], [Before(1, 0.0)]),
        SpanCase(
            *("3 MLPs", "mlps", "mlp", 3, 3, ["run.lanes=3", "run.pack=3"]),
            [Before(1, 0.0, n_trials=2, n_epochs=2), Before(2, 0.0, n_epochs=2)],
        ),
    ],
)


@pytest.mark.slow
def test_all_of_it_on_a_cpu(baseline: Path, tmp_path: Path) -> None:
    raw, out = tmp_path / "data" / "MNIST" / "raw", tmp_path / "out"
    raw.mkdir(parents=True)
    write_random(raw, {"train": 300, "t10k": 10})
    place = Place("cpu", baseline, tmp_path / "data", out, tmp_path)
    gpu_check.check(place, sizes=TINY, until_s=float("inf"), facts={})
    found = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines(out)}
    tests = found.pop("| tests marked gpu")
    assert "skipped" in tests[0] or torch.cuda.is_available()
    assert len(found) == 7
    for name, cells in found.items():
        assert re.fullmatch(r"[\d,.]+ (s|steps/s)", cells[0]), (name, cells)
        assert re.fullmatch(r"[\d,.]+ (s|steps/s)( \(from \d x \d\))?", cells[1]), (name, cells)
        assert cells[4] == "reached |"
    assert not (out / "failures.txt").exists()
    assert "run.lanes=3 run.pack=3`: 3 trials, 9 epochs; " in (out / "table.md").read_text()
    assert "computed from 2 trials x 2 epochs" in (out / "table.md").read_text()


@pytest.mark.slow
def test_an_environment_has_what_this_one_has_and_the_metadata_of_sweeper(tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment", tmp_path)
    code = "import importlib.metadata as m, torch; print(m.version('sweeper'), torch.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[1] == torch.__version__, done.stderr


def test_wheels_that_lack_something_are_said_with_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_environment, "_IMPORTS", "a_package_that_nobody_has")
    with pytest.raises(SetupError, match=r"gpu_wheels.txt: .*No module named 'a_package_that"):
        make_environment(tmp_path / "environment", tmp_path)
