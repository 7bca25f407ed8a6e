from pathlib import Path

import pytest

from sweeper.errors import LauncherError, UncertainJobError
from sweeper.launchers.slurm import commands as slurm
from tests.support.slurm_programs import SlurmPrograms


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPrograms:
    return SlurmPrograms(tmp_path / "bin", monkeypatch)


def test_what_a_site_says_before_is_not_the_job(programs: SlurmPrograms) -> None:
    programs.does("sbatch", "echo Welcome to 3 nodes; echo 2026; echo '4711;hpc'")
    assert slurm.sbatch(["sbatch", "job.sh"], []) == "4711"
    programs.does("sbatch", "echo Welcome")
    with pytest.raises(UncertainJobError, match="sbatch: named no job, and said: Welcome"):
        slurm.sbatch(["sbatch", "job.sh"], [])


def test_a_refusal_is_certain_and_a_lost_answer_is_not(programs: SlurmPrograms) -> None:
    programs.does("sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1")
    with pytest.raises(LauncherError) as caught:
        slurm.sbatch(["sbatch", "job.sh"], [])
    assert not isinstance(caught.value, UncertainJobError)
    programs.does("sbatch", "echo 'sbatch: error: Socket timed out on send/recv' >&2; exit 1")
    with pytest.raises(UncertainJobError):
        slurm.sbatch(["sbatch", "job.sh"], [])


def test_the_whole_queue_is_seen_however_the_user_likes_to_see_it(
    programs: SlurmPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "CG")
    programs.does(
        "squeue",
        'echo "a banner"; echo "1_0|sweeper-a-1|RUNNING|None"; echo "2|mine|PENDING|Priority"\n'
        '[ -z "$SQUEUE_STATES" ] || exit 1',
    )
    [job] = slurm.queue(["sweeper-a-1"])
    assert str(job) == "1_0 running (None)"
    assert "--all" in programs.calls("squeue")[0].split()


def test_a_job_submitted_from_a_job_knows_nothing_of_it(
    programs: SlurmPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "SLURM_CONF"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SBATCH_SIGNAL", "B:KILL@1")
    programs.does("sbatch", "env >&2; exit 1")
    with pytest.raises(LauncherError) as caught:
        slurm.sbatch(["sbatch", "job.sh"], ["SBATCH_SIGNAL"])
    names = {line.partition("=")[0] for line in str(caught.value).splitlines()}
    assert "SLURM_CONF" in names
    assert not names & {"SLURM_JOB_ID", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES", "SBATCH_SIGNAL"}
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(LauncherError, match="CUDA_VISIBLE_DEVICES=7"):
        slurm.sbatch(["sbatch", "job.sh"], [])
