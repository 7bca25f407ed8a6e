import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from data_files import write_mnist

import sweeper
from sweeper.spec import StudySpec

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def mlp_trials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import mlp_trials

    return mlp_trials


def test_a_section_is_replaced_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from results import write_section

    page = tmp_path / "RESULTS.md"
    write_section("Speed", "10 x", page)
    write_section("Chaos", "40 of 40", page)
    write_section("Speed", "12 x", page)
    assert page.read_text() == "# Results\n\n## Chaos\n\n40 of 40\n\n## Speed\n\n12 x\n"


@pytest.fixture
def two_trials(tmp_path: Path) -> StudySpec:
    text = (BENCHMARKS / "studies" / "mlp_trials.yaml").read_text()
    assert "trials: 8" in text
    path = tmp_path / "two.yaml"
    path.write_text(text.replace("trials: 8", "trials: 2"))
    return sweeper.load(path)


def test_the_plain_script_has_the_settings_of_the_study(
    mlp_trials: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS / "rivals")
    import plain

    study = sweeper.load(BENCHMARKS / "studies" / "mlp_trials.yaml")
    train, data = study.sections["train"], study.sections["data"]
    assert mlp_trials.fixed_settings(study) == plain.SETTINGS
    assert (train["epochs"], data["batch_size"]) == (plain.EPOCHS, plain.BATCH_SIZE)


def test_results_give_medians_spread_ratio_and_accuracies_side_by_side(
    mlp_trials: ModuleType, two_trials: StudySpec
) -> None:
    def runs(*seconds: float) -> list[object]:
        return [mlp_trials.Measurement(value, 2 * value, [0.5, value / 100]) for value in seconds]

    measured = {"sweeper": runs(3.0, 2.0, 4.0), "plain script": runs(12.0, 60.0, 11.0)}
    page = mlp_trials.render_results(two_trials, measured, {"Device": "an abacus"})

    assert "2 fixed MLP trials x 2 epochs" in page
    assert "needs 1/4.0 of the plain script's time** (ratio of the medians, n = 3)" in page
    assert "| sweeper | 3.0 | 2.0 - 4.0 | 3.0, 2.0, 4.0 | 6.0 |" in page
    assert "| plain script | 12.0 | 11.0 - 60.0 | 12.0, 60.0, 11.0 | 24.0 |" in page
    assert "| learning_rate | l1 | l2 | sweeper | plain script |" in page
    assert "| 0.05 | 1e-06 | 1e-05 | 0.0300 (0.0200 - 0.0400) | 0.1200 (0.1100 - 0.6000) |" in page
    assert "- Device: an abacus" in page


def test_a_store_without_the_settings_does_not_count(
    mlp_trials: ModuleType, two_trials: StudySpec, tmp_path: Path
) -> None:
    idle = mlp_trials.Contender("idler", [sys.executable, "-c", "pass"], Path("mlflow.db"))
    with pytest.raises(SystemExit, match="idler did not do all of the work: .*no experiment"):
        mlp_trials.measure(idle, two_trials, tmp_path)


def test_a_program_that_fails_stops_the_comparison_with_its_last_words(
    mlp_trials: ModuleType, two_trials: StudySpec, tmp_path: Path
) -> None:
    broken = mlp_trials.Contender("broken", [sys.executable, "-c", "1 / 0"], Path("mlflow.db"))
    with pytest.raises(SystemExit, match=r"(?s)broken failed:.*ZeroDivisionError"):
        mlp_trials.measure(broken, two_trials, tmp_path)


@pytest.mark.slow
def test_both_programs_do_the_same_work_on_a_tiny_mnist(
    mlp_trials: ModuleType, two_trials: StudySpec, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    write_mnist(tmp_path, images, np.arange(200, dtype=np.uint8) % 10)

    measured = mlp_trials.compare(two_trials, tmp_path, n_repeats=1)
    page = mlp_trials.render_results(two_trials, measured, mlp_trials.describe_machine(1))

    assert [len(run.accuracies) for runs in measured.values() for run in runs] == [2, 2]
    assert "needs 1/" in page
    assert str(tmp_path) not in page
