from pathlib import Path

import pytest

from sweeper.config.cluster import ClusterSpec, load_profile, parse_options
from sweeper.errors import SpecError
from tests.support.spec_files import BASE, assert_refused, study


def cluster_of(text: str) -> ClusterSpec:
    return study(BASE + text).cluster


def test_a_cluster_section_is_read() -> None:
    text = (
        "cluster:\n  to: slurm\n  jobs: 4\n  time: 1-02:30:00\n  mem: 16G\n"
        "  gpus_per_node: a100:2\n  setup: [module load cuda, source venv/bin/activate]\n"
        "  sbatch: {constraint: ib, nice: 100}\n"
    )
    spec = study(BASE + text)
    assert spec.cluster == ClusterSpec(
        to="slurm",
        jobs=4,
        time=95_400.0,
        mem="16G",
        gpus_per_node="a100:2",
        setup=["module load cuda", "source venv/bin/activate"],
        sbatch={"constraint": "ib", "nice": 100},
    )


def test_all_problems_of_a_cluster_section_come_at_once() -> None:
    assert_refused(
        BASE + "cluster:\n  to: pbs\n  jobs: 0\n  time: 90s\n  mem: 16 GB\n  partition: a b\n"
        "  partion: x\n  setup: module load cuda\n"
        "  gpus_per_node: -1\n",
        """
        4: cluster.to: must be 'slurm' or 'kubernetes', got 'pbs'
        5: cluster.jobs: must be greater than or equal to 1, got 0
        6: cluster.time: must be 2m or longer, got '90s'
        7: cluster.mem: must be a number with its unit, such as 16G, got '16 GB'
        8: cluster.partition: must be one word, without quotes, $ or backslash, got 'a b'
        9: cluster.partion: unknown key; did you mean 'partition'?
        10: cluster.setup: must be a list, got 'module load cuda'
        11: cluster.gpus_per_node: must be such as 1 or a100:2, got -1
        """,
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2h", 7_200),
        ("150s", 150),
        ("20", 1_200),  # these are the forms of sbatch's own page
        (20, 1_200),
        ("20:30", 1_230),
        ("0:02:00", 120),
        ("100:00:00", 360_000),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("2-00:00:05", 172_805),
    ],
)
def test_time_limits_are_durations_or_what_sbatch_takes(given: object, seconds: float) -> None:
    assert parse_options({"time": given}).time == seconds


@pytest.mark.parametrize("given", ["2 hours", "1-", "1:2:3:4", "-20", 120.0, True])
def test_a_time_limit_says_what_it_may_be(given: object) -> None:
    with pytest.raises(SpecError, match="--time: must be a duration such as 2h or 90m, or"):
        parse_options({"time": given})


def test_options_of_the_command_line_are_refused_with_their_names() -> None:
    with pytest.raises(SpecError) as caught:
        parse_options({"to": "pbs", "time": "1", "gpus_per_node": "two", "jobs": 3})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "--to",
        "--time",
        "--gpus-per-node",
    ]


def test_options_of_sbatch_may_have_no_value() -> None:
    options = parse_options({"sbatch": ["--contiguous", "comment=a=b", "nice=5"]})
    assert options.sbatch == {"contiguous": True, "comment": "a=b", "nice": "5"}
    assert cluster_of("cluster: {sbatch: {contiguous: true}}\n").sbatch == {"contiguous": True}


@pytest.mark.parametrize("key", ["job-name", "array", "signal", "open-mode"])
def test_options_of_sbatch_that_sweeper_writes_are_refused(key: str) -> None:
    with pytest.raises(SpecError, match="but not job-name, array, signal or open-mode, which"):
        parse_options({"sbatch": [f"{key}=x"]})
    assert parse_options({"sbatch": [f"{key}-x=y"]}).sbatch == {f"{key}-x": "y"}


def test_a_profile_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "clusters.yaml"
    with pytest.raises(SpecError, match="no such file, so there is no profile 'hpc'; write one"):
        load_profile("hpc", path)
    path.write_text("hpcc: {to: slurm}\n")
    with pytest.raises(SpecError, match="no profile 'hpc'; did you mean 'hpcc'"):
        load_profile("hpc", path)


def test_a_profiles_problems_have_their_places(tmp_path: Path) -> None:
    path = tmp_path / "clusters.yaml"
    path.write_text("hpc:\n  jobs: none\n  profile: other\n")
    with pytest.raises(SpecError) as caught:
        load_profile("hpc", path)
    assert str(caught.value).splitlines() == [
        f"{path}:1: hpc: a profile cannot name another one",
        f"{path}:2: hpc.jobs: must be a whole number, got 'none'",
    ]
