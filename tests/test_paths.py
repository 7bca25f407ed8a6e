from pathlib import Path

import pytest

from sweeper.paths import RunPaths

PATHS = RunPaths(Path("/mlruns"), "mnist")


def test_files_lie_where_the_design_says() -> None:
    assert str(PATHS.mlflow_db) == "/mlruns/mlflow.db"
    assert str(PATHS.artifacts) == "/mlruns/artifacts"
    assert str(PATHS.resolved_spec) == "/mlruns/studies/mnist/study.yaml"
    assert str(PATHS.journal) == "/mlruns/studies/mnist/journal.log"
    assert str(PATHS.events(42)) == "/mlruns/studies/mnist/trials/0042/events.jsonl"
    assert str(PATHS.checkpoint(42)) == "/mlruns/studies/mnist/trials/0042/checkpoint.pt"


def test_trials_beyond_four_digits_keep_their_number() -> None:
    assert PATHS.trial_dir(12_345).name == "12345"


def test_no_two_facts_share_a_file() -> None:
    files = [
        PATHS.resolved_spec,
        PATHS.journal,
        PATHS.key,
        PATHS.lock,
        PATHS.mirror_lock,
        PATHS.trials_dir,
        PATHS.presence_dir,
        PATHS.worker_log("a"),
        PATHS.cache_dir,
        PATHS.mlflow_db,
        PATHS.artifacts,
        PATHS.preprocessing("0123456789abcdef"),
        *(
            place
            for number in (1, 2)
            for place in (
                PATHS.events(number),
                PATHS.checkpoint(number),
                PATHS.user_checkpoint(number),
                PATHS.model(number),
                PATHS.shipped(number),
                PATHS.own_preprocessing(number),
                PATHS.trial_lock(number),
            )
        ),
    ]
    assert len(set(files)) == len(files)
    assert len({path.with_suffix(".lock") for path in (PATHS.journal, PATHS.lock)}) == 2
    assert all(path.is_relative_to("/mlruns") for path in files)


def test_paths_stay_where_they_are_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(Path("mlruns"), "mnist")
    monkeypatch.chdir("/")
    assert paths.journal == tmp_path / "mlruns" / "studies" / "mnist" / "journal.log"


@pytest.mark.parametrize(
    "name", ["5", "00005", "\u00b2\u00b2\u00b2\u00b2", "\u0663" * 4, "a", "-001", "9" * 200]
)
def test_a_folder_of_another_name_is_no_trials(tmp_path: Path, name: str) -> None:
    paths = RunPaths(tmp_path, "mnist")
    for folder in (paths.trial_dir(7), paths.trial_dir(12_345), paths.trials_dir / name):
        folder.mkdir(parents=True)
    assert paths.trial_numbers() == {7, 12_345}
