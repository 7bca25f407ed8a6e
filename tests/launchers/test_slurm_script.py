import subprocess
from pathlib import Path

import pytest

from sweeper.launchers.slurm import render_script
from sweeper.launchers.submission import Submission
from sweeper.spec.cluster import ClusterSpec

SUBMISSION = Submission("3f2a9c1b", "mnist", "slurm", 0.0)


def script_of(cluster: ClusterSpec, **changes: object) -> str:
    arguments: dict[str, object] = {
        "study_file": Path("studies/mnist.yaml"),
        "folder": Path("/home/ada/sweeps"),
        "log_dir": Path("/home/ada/sweeps/mlruns/studies/mnist/jobs/3f2a9c1b"),
        "python": "python",
    }
    return render_script(SUBMISSION, cluster, **{**arguments, **changes})  # type: ignore[arg-type]


def directives(script: str) -> list[str]:
    lines = script.splitlines()
    return [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]


def test_a_plain_array_says_no_more_than_it_must() -> None:
    assert directives(script_of(ClusterSpec())) == [
        "job-name=sweeper-mnist-3f2a9c1b",
        "array=0-0",
        "output=/home/ada/sweeps/mlruns/studies/mnist/jobs/3f2a9c1b/%A_%a.log",
        "open-mode=append",
        "requeue",
        "signal=B:USR1@60",
        "nodes=1",
        "ntasks=1",
    ]


def test_what_the_cluster_section_says_becomes_options_of_sbatch() -> None:
    cluster = ClusterSpec(
        jobs=6,
        array_parallelism=2,
        time=95_400.0,
        cpus=8,
        mem="16G",
        gpus_per_node=2,
        partition="gpu",
        account="lab",
        qos="high",
        sbatch={"constraint": "ib", "signal": "B:USR1@300"},
    )
    found = directives(script_of(cluster))
    for line in (
        *("array=0-5%2", "time=26:30:00", "cpus-per-task=8", "mem=16G", "gpus-per-node=2"),
        *("partition=gpu", "account=lab", "qos=high", "constraint=ib", "signal=B:USR1@300"),
    ):
        assert found.count(line) == 1
    assert "signal=B:USR1@60" not in found


def test_a_short_limit_leaves_time_to_work() -> None:
    assert "signal=B:USR1@30" in directives(script_of(ClusterSpec(time=120.0)))


@pytest.mark.parametrize("every_s", [None, 86_400])
def test_the_script_is_one_that_bash_can_read(every_s: int | None, tmp_path: Path) -> None:
    script = script_of(
        ClusterSpec(setup=["module load cuda"]),
        folder=Path("/home/ada/it's here"),
        study_file=Path("my study.yaml"),
        every_s=every_s,
    )
    assert "\nmodule load cuda\n" in script
    assert ("--begin=" in script) is (every_s is not None)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    # Slurm stops to look for options of its own at the first command.
    head, _, rest = script.partition("\ntold=")
    assert "#SBATCH" in head
    assert "#SBATCH" not in rest
