"""Trials that were really trained are trained again, and what was changed of them is found."""

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sweeper.commands.verify.compare import STATED_TOLERANCE
from sweeper.commands.verify.verify import verify_study
from sweeper.errors import CommandStopped, StudyError
from sweeper.study.study import SweepStudy
from sweeper.training.checkpoint import load_whole, save_checkpoint
from sweeper.trial import TrialState
from tests.support.sweep_studies import begin
from tests.support.trained_studies import trained, trained_function


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SweepStudy:
    """Four trials of two architectures, two epochs each."""
    return trained(tmp_path_factory.mktemp("verified"))


@pytest.fixture
def root(made: SweepStudy, tmp_path: Path) -> Path:
    """A copy of its ``mlruns``."""
    return shutil.copytree(made.paths.root, tmp_path / "mlruns")


def verified(
    study: SweepStudy, root: Path | None = None, **options: Any
) -> tuple[bool, list[str], list[str]]:
    """Whether it is, what is answered, and what is said meanwhile."""
    shown: list[str] = []
    notes: list[str] = []
    is_verified = verify_study(
        study.spec, root or study.paths.root, show=shown.append, note=notes.append, **options
    )
    return is_verified, "\n".join(shown).splitlines(), notes


def change_log(root: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / f"studies/small/trials/{number:04d}/events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def files(root: Path) -> dict[Path, tuple[int, bytes]]:
    """Of each: when it was written, and what it holds."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def test_the_same_numbers_and_nothing_is_written(made: SweepStudy, root: Path) -> None:
    before = files(root)
    is_verified, lines, notes = verified(made, root)
    assert is_verified
    assert lines[-1] == "small: verified, 3 trials came to the same numbers again"
    titles = [line for line in lines if line.startswith("trial ")]
    assert {title.split(", ", 1)[1] for title in titles} == {
        "mlp, complete, 2 epochs",
        "cnn, complete, 2 epochs",
    }
    assert sum(line.split()[:1] == ["weights"] for line in lines) == 3
    assert notes[0].startswith("training 3 trials (")
    assert files(root) == before


def test_a_value_that_was_changed_is_found(made: SweepStudy, root: Path) -> None:
    def change(line: dict[str, Any]) -> None:
        if line.get("epoch") == 2:
            line["values"]["train_loss"] *= 1 + 1e-9

    change_log(root, 1, change)
    is_verified, lines, _ = verified(made, root, number=1)
    assert not is_verified
    assert any("train_loss" in line and "parts at epoch 2" in line for line in lines)
    assert "the record is not what they come to" in lines[-2]
    assert lines[-1].endswith("0 of 1 trial came to what was recorded again: trial 1 differs")


def test_weights_that_were_changed_are_found(made: SweepStudy, root: Path) -> None:
    path = root / "studies/small/trials/0000/model.pt"
    weights = load_whole(path)
    assert weights is not None
    name = next(iter(weights))
    weights[name] = torch.nextafter(weights[name], torch.tensor(9.0))
    save_checkpoint(path, weights)
    is_verified, lines, _ = verified(made, root, number=0)
    assert not is_verified
    assert lines[-2].endswith(": the weights differ")


def test_a_record_that_contradicts_itself_is_not_verified(made: SweepStudy, root: Path) -> None:
    change_log(root, 0, lambda line: line.get("tags", {}).update(seed="5"))
    is_verified, lines, _ = verified(made, root, number=0)
    assert not is_verified
    assert "differs: its record contradicts itself: its seed is 5 in its event log" in lines[-2]


def test_without_its_model_file_curves_alone_are_compared(made: SweepStudy, root: Path) -> None:
    path = root / "studies/small/trials/0000/model.pt"
    path.unlink()
    is_verified, lines, _ = verified(made, root, number=0)
    assert is_verified
    assert f"  its weights are not compared: {path}: No such file or directory" in lines
    path.write_bytes(b"torn")
    is_verified, lines, _ = verified(made, root, number=0)
    assert f"  its weights are not compared: the checksum of {path} is wrong" in lines


def test_data_that_have_changed_are_not_trained_on(made: SweepStudy, root: Path) -> None:
    def change(line: dict[str, Any]) -> None:
        if line["event"] == "Started":
            line["data"]["fingerprint"] = "0123456789abcdef"

    change_log(root, 2, change)
    is_verified, lines, notes = verified(made, root, number=2)
    assert not is_verified
    assert "unverified: the data have changed: it was trained on fingerprint 0123" in lines[1]
    assert len(notes) == 1


def test_the_precision_is_the_recorded_one_whatever_the_file_says_now(tmp_path: Path) -> None:
    study = trained(tmp_path, budget={"trials": 1}, run={"precision": "bf16", "device": "cpu"})
    spec = replace(study.spec, run=replace(study.spec.run, precision="fp32"))
    assert verify_study(spec, study.paths.root, show=print, note=print)


def test_in_a_pack_it_is_near_what_it_is_alone(tmp_path: Path) -> None:
    study = trained(
        tmp_path,
        budget={"trials": 3},
        model={"architecture": "mlp", "width": 8, "dropout": 0.5},
        train={"epochs": 2, "learning_rate": {"choices": [0.01, 0.02, 0.05]}},
        run={"pack": 3, "device": "cpu"},
    )
    is_verified, lines, _ = verified(study)
    assert is_verified
    assert "as run.pack may have computed it together with others" in "".join(lines)
    assert any(line.startswith("  within: ") for line in lines)


def build_normed(shape: Sequence[int], n_outputs: int, width: int) -> nn.Module:
    layers = nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(width, n_outputs))


def test_what_rounding_makes_of_a_trial_in_a_pack_is_no_difference(tmp_path: Path) -> None:
    study = trained(
        tmp_path,
        budget={"trials": 3},
        model={"architecture": f"{__name__}:build_normed", "width": 16},
        train={"epochs": 2, "learning_rate": {"choices": [0.01, 0.02, 0.05]}},
        run={"pack": 3, "device": "cpu"},
    )
    is_verified, lines, _ = verified(study)
    assert is_verified, lines
    weights = [line.split() for line in lines if line.startswith("  weights")]
    assert any(float(alone) > STATED_TOLERANCE for _, _, alone, _ in weights)


def test_json_alone(made: SweepStudy, root: Path) -> None:
    _, lines, _ = verified(made, root, n_trials=1, as_json=True)
    [answer] = map(json.loads, lines)
    assert (answer["study"], answer["verified"]) == ("small", True)
    [trial] = answer["trials"]
    assert trial["verdict"] == "same"
    assert "val_loss" in [each["name"] for each in trial["differences"]]


def test_a_search_that_has_changed_is_refused(made: SweepStudy, root: Path) -> None:
    changed = begin(root.parent / "other", train={"epochs": 9}).spec
    with pytest.raises(StudyError, match=r"(?s)the search has changed.*train.epochs: was 2, is 9"):
        verify_study(changed, root, show=print, note=print)


def test_a_study_that_has_not_begun(tmp_path: Path, made: SweepStudy) -> None:
    with pytest.raises(StudyError, match="has not begun"):
        verify_study(made.spec, tmp_path, show=print, note=print)


#: Measures what its seed says.
SEEDED = """import random
    print("to be read by nobody")
    for epoch in range(1, 4):
        trial.report(epoch, score=random.random(), seconds=time.time())"""
#: The same, but the record cannot be had again.
UNSEEDED = """for epoch in range(1, 4):
        trial.report(epoch, score=epoch + (10 if is_first("recorded") else 0))"""


def test_training_of_ones_own_is_held_against_its_objective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = trained_function(tmp_path, SEEDED)
    capsys.readouterr()
    is_verified, lines, _ = verified(study)
    assert is_verified
    assert [line.split()[0] for line in lines[1:3]] == ["recorded", "score"]
    assert "as nothing says that your own training comes to the same numbers" in lines[3]
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("to be read by nobody")) == ("", 2)


def test_what_is_further_off_than_two_runs_alone_differs(tmp_path: Path) -> None:
    is_verified, lines, _ = verified(trained_function(tmp_path, UNSEEDED))
    assert not is_verified
    assert "score parts at epoch 1, 11 to 1" in lines[-2]


def test_a_pruned_trial_is_trained_up_to_where_it_was_pruned(tmp_path: Path) -> None:
    body = """for epoch in range(1, 10):
        trial.report(epoch, score=epoch)
        if epoch == 2 and is_first("pruned"):
            import sweeper
            raise sweeper.TrialPruned"""
    study = trained_function(tmp_path, body)
    assert study.counts() == {TrialState.PRUNED: 1}
    is_verified, lines, _ = verified(study, number=0)
    assert is_verified
    assert lines[0] == "trial 0, pruned, 2 epochs"


def test_training_that_fails_now_is_said(tmp_path: Path) -> None:
    body = """if not is_first("recorded"):
        raise KeyError("lr")
    trial.report(1, score=1)"""
    is_verified, lines, _ = verified(trained_function(tmp_path, body))
    assert not is_verified
    assert "unverified: training it again failed of KeyError: 'lr': if that is no" in lines[1]


def test_being_stopped_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """if not is_first("recorded"):
        os.kill(os.getpid(), signal.SIGTERM)
    trial.report(1, score=1)"""
    study = trained_function(tmp_path, body)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def stop(number: int, frame: object) -> None:
        assert list(scratch.iterdir())
        raise CommandStopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(CommandStopped):
            verified(study)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list(scratch.iterdir()) == []
