from pathlib import Path

import pytest

from sweeper.config.cluster import ClusterSpec, parse_options
from sweeper.errors import SpecError
from sweeper.launchers.request import settle_cluster
from tests.support.spec_files import BASE, study


def test_options_go_over_the_study_file_and_that_over_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "sweeper").mkdir()
    (tmp_path / "sweeper" / "clusters.yaml").write_text(
        "hpc: {to: slurm, jobs: 1, cpus: 8, partition: gpu, sbatch: {constraint: ib, nice: 5}}\n"
    )
    spec = study(BASE + "cluster: {profile: hpc, jobs: 4, partition: long, sbatch: {nice: 7}}\n")
    cluster = settle_cluster(spec, parse_options({"jobs": 6, "sbatch": ["--comment=mine"]}))
    assert (cluster.to, cluster.jobs, cluster.partition, cluster.cpus) == ("slurm", 6, "long", 8)
    assert cluster.sbatch == {"constraint": "ib", "nice": 7, "comment": "mine"}


def test_what_a_scheduler_has_no_word_for_may_come_from_a_profile_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "sweeper").mkdir()
    (tmp_path / "sweeper" / "clusters.yaml").write_text("site: {image: i, partition: gpu}\n")
    spec = study(BASE + "cluster: {profile: site}\n")
    assert settle_cluster(spec, ClusterSpec(to="slurm")).partition == "gpu"
    assert settle_cluster(spec, ClusterSpec(to="kubernetes")).image == "i"
    with pytest.raises(SpecError, match="slurm has no word for `image`, `secret`; drop that from"):
        settle_cluster(spec, ClusterSpec(to="slurm", image="i", secret="s"))


def test_somebody_must_say_which_scheduler() -> None:
    with pytest.raises(SpecError, match="to which scheduler"):
        settle_cluster(study(BASE), ClusterSpec())


def test_sqlite_serves_no_second_job() -> None:
    spec = study(BASE + "storage: sqlite:///s.db\n")
    with pytest.raises(SpecError, match="SQLite serves one worker, not 2 jobs"):
        settle_cluster(spec, ClusterSpec(to="slurm", jobs=2))
