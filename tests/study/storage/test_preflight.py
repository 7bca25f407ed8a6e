"""Stores on file systems that cannot keep them are refused before anything is written."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import StudyError, SweeperError, TrackerError
from sweeper.paths import RunPaths
from sweeper.study.storage.preflight import (
    check_stores,
    check_tracking_place,
    check_writable,
)
from tests.support.small_disk import small_disk
from tests.support.sweep_studies import spec_of

NFS = "nfs4 fs1:/home rw,vers=4.2,hard,local_lock=none,addr=10.0.0.2"
LUSTRE = "lustre 10.0.0.9@o2ib:/scratch rw,lazystatfs"
SSHFS = "fuse.sshfs ann@fs1:/home rw,user_id=1000"
BEEGFS = "beegfs beegfs_nodev rw,cfgFile=/etc/beegfs/beegfs-client.conf"
SERVER = {"uri": "http://lab:5000"}
POSTGRES = "postgresql+psycopg://lab/optuna"


def mounts(folder: Path, kind: str) -> str:
    """A machine whose disk is local but for that folder."""
    return f"28 1 259:2 / / rw - xfs /dev/nvme0n1p2 rw\n40 28 0:50 / {folder} rw - {kind}\n"


def check(folder: Path, kind: str, **changes: Any) -> list[str]:
    """What is noted of a study in a folder of that kind."""
    spec = spec_of(folder, **changes)
    notes: list[str] = []
    paths = RunPaths(folder / "mlruns", spec.name)
    check_stores(spec, paths, notes.append, mountinfo=mounts(folder, kind))
    assert [path.name for path in folder.iterdir()] == []
    return notes


def refusal(expected: type[SweeperError], folder: Path, kind: str, **changes: Any) -> str:
    with pytest.raises(expected) as caught:
        check(folder, kind, **changes)
    assert type(caught.value) is expected
    return str(caught.value)


def test_a_disk_of_this_machine_is_fine(tmp_path: Path) -> None:
    assert check(tmp_path, "ext4 /dev/sda1 rw") == []
    assert check(tmp_path, "ext4 /dev/sda1 rw", storage=f"sqlite:///{tmp_path}/optuna.db") == []


def test_a_journal_on_nfs_is_fine_if_mlflow_is_elsewhere(tmp_path: Path) -> None:
    assert check(tmp_path, NFS, tracking=SERVER) == []
    assert check(tmp_path, LUSTRE.replace("rw,", "rw,flock,"), tracking=SERVER) == []


def test_mlflows_own_file_on_a_network_is_refused(tmp_path: Path) -> None:
    text = refusal(TrackerError, tmp_path, NFS)
    assert text == (
        f"{tmp_path}/small.yaml:1: tracking.uri: SQLite needs a disk of this machine: over a "
        f"network its file gets damaged; {tmp_path}/mlruns/mlflow.db is on nfs4 (mounted at "
        f"{tmp_path}); start `mlflow server` on a machine that all can reach, with its own store "
        "on a disk there, and set tracking.uri to http://that-machine:5000; or start the study in "
        "a folder on a disk of this machine"
    )


def test_so_is_another_file_for_mlflow_whoever_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/own.db"
    text = refusal(TrackerError, tmp_path, NFS, tracking={"uri": uri})
    assert text.startswith(f"{tmp_path}/small.yaml:23: tracking.uri: SQLite needs")
    assert f"; {tmp_path}/own.db is on nfs4 " in text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    text = refusal(TrackerError, tmp_path, NFS)
    assert text.startswith("$MLFLOW_TRACKING_URI: SQLite needs")


def test_mlflows_file_on_a_disk_is_fine_though_the_study_is_on_nfs(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path.parent}/on-a-disk.db"
    assert check(tmp_path, NFS, tracking={"uri": uri}) == []


def test_what_sync_would_write_is_refused_likewise(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", spec.name)
    with pytest.raises(TrackerError, match="SQLite needs a disk of this machine"):
        check_tracking_place(spec, paths, mountinfo=mounts(tmp_path, NFS))


@pytest.mark.parametrize("kind", [NFS, LUSTRE, SSHFS, BEEGFS])
def test_an_sqlite_storage_on_a_network_is_refused(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    text = refusal(StudyError, tmp_path, kind, tracking=SERVER, storage=url)
    assert text == (
        f"{tmp_path}/small.yaml:24: storage: SQLite needs a disk of this machine: over a network "
        f"its file gets damaged; {tmp_path}/optuna.db is on {kind.split()[0]} (mounted at "
        f"{tmp_path}); set it to postgresql://host/name, or to auto for a journal file"
    )


@pytest.mark.parametrize("kind", [LUSTRE, SSHFS, "nfs fs1:/x rw,vers=3,nolock,local_lock=all"])
def test_a_journal_where_locks_stay_on_one_machine_is_refused(tmp_path: Path, kind: str) -> None:
    text = refusal(StudyError, tmp_path, kind, tracking=SERVER)
    assert text == (
        f"{tmp_path}/small.yaml:1: storage: a journal file needs file locks that reach other "
        f"machines; {tmp_path}/mlruns/studies/small is on {kind.split()[0]} (mounted at "
        f"{tmp_path}), where they do not; set it to postgresql://host/name, or start the study in "
        "a folder on a disk of this machine, on NFS without nolock and local_lock, or on Lustre "
        "mounted with flock"
    )


def test_a_journal_of_which_it_is_not_known_is_taken_with_a_warning(tmp_path: Path) -> None:
    assert check(tmp_path, BEEGFS, tracking=SERVER) == [
        f"WARNING: {tmp_path}/small.yaml:1: storage: {tmp_path}/mlruns/studies/small is on beegfs "
        f"(mounted at {tmp_path}), and it cannot be seen whether file locks reach other machines "
        "there; if not, several machines damage the journal: for more than one, set it to "
        "postgresql://host/name"
    ]


@pytest.mark.parametrize("kind", [LUSTRE, BEEGFS])
def test_beside_a_database_locks_that_may_not_hold_are_told(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("psycopg", reason="needs the extra `postgres`")
    assert check(tmp_path, kind, tracking=SERVER, storage=POSTGRES) == [
        f"WARNING: {tmp_path}/mlruns/studies/small is on {kind.split()[0]} (mounted at "
        f"{tmp_path}), where file locks may not reach other machines; let each machine start the "
        "study in a folder of its own"
    ]


def unwritable(folder: Path, **changes: Any) -> str:
    spec = spec_of(folder.parent, **changes)
    with pytest.raises(StudyError) as caught:
        check_writable(spec, RunPaths(folder / "mlruns", spec.name))
    return str(caught.value)


WAY_OUT = (
    "is no folder that may be written to; see that you may write there, or start the study in a "
    "folder where you may"
)


def test_a_disk_that_is_read_only_keeps_no_study(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as folder:
        database = folder / "optuna.db"
        database.touch()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        lock = folder / "mlruns/studies/small/study.lock"
        assert unwritable(folder) == f"{lock}: a run writes it, and {folder} {WAY_OUT}"
        for changes in (
            {"tracking": {"uri": f"sqlite:///{database}"}},
            {"storage": f"sqlite:///{database}"},
        ):
            spec = spec_of(tmp_path, **changes)
            with pytest.raises(StudyError, match=f"^{database}: a run writes it, and {folder} is"):
                check_writable(spec, RunPaths(tmp_path / "mlruns", spec.name))
    assert sorted(os.listdir(tmp_path)) == ["disk"]


def test_a_file_where_a_folder_is_wanted_keeps_no_study(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mlruns").touch()
    lock = folder / "mlruns/studies/small/study.lock"
    assert unwritable(folder) == f"{lock}: a run writes it, and {folder}/mlruns {WAY_OUT}"


def test_a_folder_that_may_be_written_stays_as_it_is(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    check_writable(spec, RunPaths(tmp_path / "mlruns", spec.name))
    assert os.listdir(tmp_path) == []
