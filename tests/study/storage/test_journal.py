import resource
from pathlib import Path

import pytest

from sweeper.errors import StoreError, StudyError
from sweeper.locks import FileLock
from sweeper.paths import RunPaths
from sweeper.trial import TrialState
from tests.support.sweep_studies import begin, reports, run_all, run_trial


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":4,"study_id":0,"wor', b'{"op_code":4}'])
def test_a_line_that_a_dead_process_left_torn_does_no_harm(tmp_path: Path, torn: bytes) -> None:
    run_trial(begin(tmp_path), reports(0.5))
    study = begin(tmp_path)
    with study.paths.journal.open("ab") as journal:
        journal.write(torn)
    assert study.counts()[TrialState.COMPLETE] == 1
    run_all(study, reports(0.6))
    assert begin(tmp_path).counts() == {TrialState.COMPLETE: 10}


@pytest.mark.parametrize(
    ("damage", "why"), [(b"x", "Expecting value"), (b"\xff", "utf-8"), (b"\n", "Expecting value")]
)
def test_a_damaged_line_is_named_with_the_way_out(tmp_path: Path, damage: bytes, why: str) -> None:
    study = begin(tmp_path)
    lines = study.paths.journal.read_bytes().splitlines(keepends=True)
    study.paths.journal.write_bytes(b"".join([*lines[:4], damage + lines[4][1:], *lines[5:]]))
    with pytest.raises(StudyError) as caught:
        begin(tmp_path)
    assert str(caught.value).startswith(f"{study.paths.journal}: line 5 is damaged (")
    assert why in str(caught.value)
    assert str(caught.value).endswith("from a copy, or begin another study with `--name NEW`")


def test_a_full_disk_does_not_spoil_the_journal(tmp_path: Path) -> None:
    study, other = begin(tmp_path), begin(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = study.paths.journal.stat().st_size + 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # as a disk with 10 bytes left
    try:
        with pytest.raises(StoreError, match="File too large.*make room"):
            study.sampler.change("tpe", "to write something")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run_trial(other, reports(0.5))
    run_trial(study, reports(0.6))
    assert begin(tmp_path).counts() == {TrialState.COMPLETE: 2, TrialState.WAITING: 8}


def test_a_journal_that_is_torn_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "mlruns", "small")
    paths.study_dir.mkdir(parents=True)
    paths.journal.write_bytes(b'{"op_code"')
    assert begin(tmp_path).counts() == {TrialState.WAITING: 10}


def test_the_journals_lock_is_not_the_studys(tmp_path: Path) -> None:
    study = begin(tmp_path)
    with FileLock(study.paths.lock).held():
        study.sampler.change("tpe", "the journal can be written meanwhile")
    assert study.paths.journal.exists()
