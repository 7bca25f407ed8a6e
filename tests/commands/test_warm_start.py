"""A study begins with what an earlier one has shown, and all commands say so."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.commands.check import precision
from sweeper.commands.check.check import check_study
from sweeper.commands.status import show_status
from sweeper.commands.warm_start import preview_warm_start, read_warm_start
from sweeper.errors import SpecError, StudyError, TrackerError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import begin, plain_study, reports, run_trial, spec_of

RATE = "train.learning_rate"
WIDE = {"epochs": 9, "learning_rate": {"low": 0.01, "high": 1.0, "log": True}}
SAID = f"7 of 10 trials of earlier fit this space; 3 do not ({RATE} outside)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a finished study whose accuracy is the best at the highest learning rate."""
    rates = [{RATE: rate} for rate in (0.001, 0.003, 0.009, *(0.014 * n for n in range(1, 8)))]
    study = begin(tmp_path, name="earlier", enqueue=rates)
    for rate in rates:
        run_trial(study, reports(rate[RATE]))
    study.paths.resolved_spec.write_text(yaml.safe_dump(plain_study(name="earlier")))
    return tmp_path


def later(folder: Path, **changes: Any) -> Any:
    section = {"warm_start": {"from": "earlier"}, "train": WIDE, "sampler": {"name": "auto"}}
    return spec_of(folder, name="later", **{**section, **changes})


def begin_later(folder: Path, **changes: Any) -> SweepStudy:
    spec, root = later(folder, **changes), folder / "mlruns"
    study = create_study(spec, RunPaths(root, "later"), lambda: read_warm_start(spec, root))
    study.queue.top_up()
    return study


def test_the_first_trial_is_drawn_where_the_earlier_study_was_best(folder: Path) -> None:
    study = begin_later(folder, budget={"trials": 3})
    for _ in range(3):
        run_trial(study, reports(0.5))
    rates = [trial.params[RATE] for trial in study.trials()]
    assert rates[0] > 0.06
    assert Result(study).drawn_by == {"model": 3}
    assert study.n_finished() == 3


def test_check_says_it_before_anything_runs_and_status_ever_after(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_TURN_S", 0.0)
    spec, root = later(folder), folder / "mlruns"
    lines = list(check_study(spec, root, print))
    assert f"warm start: {SAID}" in lines
    study = begin_later(folder)
    shutil.rmtree(root / "studies/earlier")
    assert f"warm     {SAID}" in show_status(study.spec, root).splitlines()
    assert json.loads(show_status(study.spec, root, as_json=True))["warm_start"] == SAID
    assert f"warm start: {SAID}" in list(check_study(spec, root, print))
    random = later(folder, sampler={"name": "random"})
    assert show_status(random, root).count("; random learns nothing from them") == 1


def test_a_study_without_says_nothing(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert preview_warm_start(study.spec, study.paths.root) is None
    assert "warm" not in show_status(study.spec, study.paths.root)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"warm_start": {"from": "none"}}, SpecError),
        ({"train": {"learning_rate": {"low": 0.5, "high": 1.0}}}, SpecError),
        ({"warm_start": {"from": "./broken"}}, StudyError),
        (
            {
                "warm_start": {"from": {"mlflow": "x"}},
                "tracking": {"uri": "sqlite:////dev/null/x.db"},
            },
            TrackerError,
        ),
    ],
)
def test_each_refusal_has_its_place_in_the_file(
    folder: Path, changes: dict[str, Any], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "mlruns/studies")
    broken = folder / "mlruns/studies/broken"
    broken.mkdir()
    text = yaml.safe_dump(plain_study(name="broken", storage="postgresql://host/db"))
    (broken / "study.yaml").write_text(text)
    with pytest.raises(kind, match=rf"^{folder}/small.yaml:\d+: warm_start.from: ") as caught:
        read_warm_start(later(folder, **changes), folder / "mlruns")
    assert type(caught.value) is kind
