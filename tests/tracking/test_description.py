"""The study's run tells what the study has come to, in words and pictures."""

from pathlib import Path

import pytest
from mlflow.entities import Run

from sweeper.errors import TrackerError, TrainingError
from sweeper.study.running_trial import RunningTrial
from sweeper.trial import EpochMetrics
from tests.support.sweep_studies import PRUNED, epoch, raises, reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep

SPACE = {
    "architecture": {"choices": {"mlp": {"width": {"choices": [8, 16]}}, "resnet18": {}}},
    "activation": {"choices": ["relu", "tanh"]},
}


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    """Of a conditional study: a complete, a pruned and a failed trial; one is left to do."""
    sweep = begin_sweep(tmp_path, trials=3, model=SPACE)
    sweep.run(reports(0.5, 0.75))
    sweep.run(PRUNED)
    sweep.run(raises(TrainingError("no `such` thing")))
    sweep.send()
    return sweep


def parent(sweep: TrackedSweep) -> Run:
    [run] = sweep.runs("study")
    return run


def note(sweep: TrackedSweep) -> str:
    return str(parent(sweep).data.tags["mlflow.note.content"])


def pictures(sweep: TrackedSweep) -> dict[str, tuple[bytes, int]]:
    """Content and time of each picture of the study's run."""
    folder = sweep.paths.artifacts / parent(sweep).info.run_id / "artifacts"
    found = {path.name: path for path in folder.glob("*.png")}
    return {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in found.items()}


def test_the_note_has_the_result_in_words_and_links(sweep: TrackedSweep) -> None:
    text, run = note(sweep), sweep.runs()[0]
    assert "2 of 3 trials: " in text
    page = f"#/experiments/{run.info.experiment_id}/runs"
    link = f"{page}/{run.info.run_id}?workflowType=machine_learning"
    assert f"Best: [trial 0]({link}), val_accuracy 0.75." in text
    for name, value in run.data.params.items():
        shown = f"{float(value):.4g}" if name == "train.learning_rate" else value
        assert f"| {name} | {shown} |" in text
    assert "- 1 of exception: `TrainingError: no 'such' thing`" in text
    assert f"[All trials, best first]({page}?" in text
    for name in pictures(sweep):
        assert f"![](get-artifact?path={name}&run_uuid={parent(sweep).info.run_id})" in text


def test_pictures_are_drawn_again_only_when_a_trial_has_come(sweep: TrackedSweep) -> None:
    before = pictures(sweep)
    assert before.keys() == {"history.png", "searched.png"}
    assert all(content.startswith(b"\x89PNG") for content, _ in before.values())
    sweep.send()
    assert pictures(sweep) == before
    sweep.run(reports(0.875))
    sweep.send()
    after = pictures(sweep)
    assert all(after[name][0] != content for name, (content, _) in before.items())
    assert "3 of 3 trials" in note(sweep)


def test_a_note_of_somebody_else_is_left_alone(sweep: TrackedSweep) -> None:
    sweep.client.set_tag(parent(sweep).info.run_id, "mlflow.note.content", "ask Ann")
    sweep.run(reports(0.875))
    sweep.send()
    assert note(sweep) == "ask Ann"


def test_a_study_without_a_value_has_words_alone(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.run(raises(TrainingError("no such thing")))
    sweep.send()
    assert "0 of 2 trials: " in note(sweep)
    assert pictures(sweep) == {}


def test_the_front_of_several_metrics(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "train_loss"], "direction": ["maximize", "minimize"]}
    sweep = begin_sweep(tmp_path, trials=3, objective=objective)
    for accuracy, loss in ((0.5, 1.0), (0.75, 2.0), (0.25, 3.0)):
        measured = epoch(1, accuracy, train_loss=loss)

        def body(held: RunningTrial, measured: EpochMetrics = measured) -> None:
            held.report(measured)

        sweep.run(body)
    sweep.send()
    lines = [line for line in note(sweep).splitlines() if line.startswith("- [trial ")]
    assert [line.partition("]")[0] for line in lines] == ["- [trial 0", "- [trial 1"]
    assert lines[0].endswith(": val_accuracy 0.5, train_loss 1")
    assert pictures(sweep).keys() == {"history.png", "searched.png"}


def test_a_refused_picture_leaves_the_study_finished(sweep: TrackedSweep) -> None:
    sweep.run(reports(0.875))
    folder = sweep.paths.artifacts / parent(sweep).info.run_id / "artifacts"
    (folder / "history.png").unlink()
    (folder / "history.png").mkdir()
    with pytest.raises(TrackerError, match="artifact store fails"):
        sweep.send()
    assert parent(sweep).info.status == "FINISHED"
    (folder / "history.png").rmdir()
    sweep.send()
    assert "3 of 3 trials" in note(sweep)
