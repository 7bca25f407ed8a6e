import subprocess
from pathlib import Path

import pytest

from sweeper.config.cluster import ClusterSpec
from sweeper.launchers.schedule import Schedule
from sweeper.launchers.slurm.script import AgentCommand, overruling_variables, render_script
from sweeper.launchers.submission import Submission

SUBMISSION = Submission("3f2a9c1b", "mnist", "slurm", 0.0)


COMMAND = AgentCommand("python", Path("studies/mnist.yaml"), Path("/home/ada/sweeps"))
LOG_DIR = Path("/home/ada/sweeps/mlruns/studies/mnist/jobs/3f2a9c1b")


def script_of(
    cluster: ClusterSpec,
    command: AgentCommand = COMMAND,
    *,
    log_dir: Path = LOG_DIR,
    schedule: Schedule | None = None,
) -> str:
    return render_script(SUBMISSION, cluster, command, log_dir=log_dir, schedule=schedule)


def directives(script: str) -> list[str]:
    lines = script.splitlines()
    return [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")]


def test_a_plain_array_says_no_more_than_it_must() -> None:
    assert directives(script_of(ClusterSpec())) == [
        "job-name=sweeper-mnist-3f2a9c1b",
        "output=/home/ada/sweeps/mlruns/studies/mnist/jobs/3f2a9c1b/%A_%a.log",
        "array=0-0",
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


def test_directives_are_quoted_as_sbatch_reads_them() -> None:
    script = script_of(
        ClusterSpec(sbatch={"comment": "two words", "contiguous": True}),
        log_dir=Path("/home/ada/50 % off/jobs"),
    )
    assert directives(script)[1] == "output='/home/ada/50 %% off/jobs/%A_%a.log'"
    assert {"comment='two words'", "contiguous"} <= set(directives(script))


def test_variables_that_would_overrule_a_directive_are_hidden_from_sbatch() -> None:
    cluster = ClusterSpec(time=7200.0, sbatch={"constraint": "ib"})
    names = overruling_variables(cluster)
    assert {
        *("SBATCH_JOB_NAME", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_ARRAY_INX", "SBATCH_EXPORT"),
        *("SBATCH_NO_REQUEUE", "SBATCH_REQUEUE", "SBATCH_SIGNAL", "SBATCH_OPEN_MODE"),
        *("SBATCH_TIMELIMIT", "SBATCH_CONSTRAINT", "SBATCH_WAIT"),
    } <= set(names)
    # What the script leaves to the site, a user's variables may say.
    assert not {"SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_MEM_PER_NODE"} & set(names)
    script = script_of(cluster)
    unset = script[script.index("\nunset ") : script.index("SCANCEL_@")]
    assert all(f" {name} " in unset.replace("\n", " ") for name in names)


SCHEDULE = Schedule(begin_s=1_764_000_000, every_s=86_400)


@pytest.mark.parametrize("schedule", [None, SCHEDULE])
def test_the_script_is_one_that_bash_can_read(schedule: Schedule | None) -> None:
    script = script_of(
        ClusterSpec(setup=["module load cuda"]),
        AgentCommand(
            "python",
            Path("my study.yaml"),
            Path("/home/ada/it's here"),
            ("seed=3", "train.x=it's"),
        ),
        schedule=schedule,
    )
    assert "\nmodule load cuda\n" in script
    assert "\npython -m sweeper run 'my study.yaml' seed=3 'train.x=it'\"'\"'s' &\n" in script
    assert ("--begin=" in script) is (schedule is not None)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    # Slurm stops to look for options of its own at the first command.
    head, _, rest = script.partition("\njob=")
    assert head.count("#SBATCH") == 8
    assert rest
    assert "#SBATCH" not in rest
