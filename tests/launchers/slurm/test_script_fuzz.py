"""What stands in a cluster section or a path is refused, or stays what it is in a real shell."""

import contextlib
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from sweeper.config.cluster import ClusterSpec, parse_options
from sweeper.errors import SpecError
from sweeper.launchers.slurm.script import AgentCommand, render_script
from sweeper.launchers.submission import Submission

SUBMISSION = Submission("3f2a9c1b", "mnist", "slurm", 0.0)
#: What each program of the folder ``bin`` does; none but these is on the PATH.
PROGRAMS = {
    "python": 'printf "%s\\0" "$PWD" "$@" >{folder}/called',
    "pwn": "echo >>{folder}/pwned",
    "id": "echo ada",
    "scancel": "",
}
#: Parts of texts that mean something to a shell, to sbatch or to whoever splits lines.
PARTS = (
    *("pwn", ";pwn;", "\npwn\n", "\r\npwn\r\n", "$(pwn)", "`pwn`", "&pwn&", "|pwn|", "';pwn;'"),
    *('";pwn;"', "\\", "'", '"', "$", "${pwn", "#", " #", "!", "*", "~", "%", "%A", "{a,b}"),
    *("(", ")", "<", ">", "\t", " ", "=", "-", "--wrap=pwn", "\n#SBATCH --wrap=pwn\n"),
    *("x", "\u00fc", "\u2028pwn", "\x1b[2J", "\x7f", "\x85", "EOF", "\nfi\n", "\ndone\n", "}"),
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("".join)
NAMES = TEXTS.map(lambda text: f"x{text}")  # of a file, which may not look like an option


class Job:
    """What a job did that ran a script under a shell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, body in PROGRAMS.items():
            program = self.bin / name
            program.write_text("#!/bin/bash\n" + body.replace("{folder}", str(folder)) + "\n")
            program.chmod(0o755)

    def run(self, shell: str, script: str) -> str:
        """What it printed; it must say nothing else, end well, and have run nothing strange."""
        (self._folder / "job.sh").write_text(script)
        variables = {
            "PATH": str(self.bin),
            "SLURM_ARRAY_JOB_ID": "17",
            "SLURM_ARRAY_TASK_ID": "0",
            "SLURM_JOB_NAME": SUBMISSION.job_name,
        }
        done = subprocess.run(
            [shell, str(self._folder / "job.sh")], env=variables, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b""), script
        assert not (self._folder / "pwned").exists(), script
        return os.fsdecode(done.stdout)

    def called(self) -> list[str]:
        """Where Python was called, and with which words."""
        return os.fsdecode((self._folder / "called").read_bytes()).split("\0")[:-1]


def options(sbatch: Mapping[str, str], words: Mapping[str, str]) -> ClusterSpec:
    """As the command line gives them, each unless it is refused."""
    taken = ClusterSpec()
    for key, value in sbatch.items():
        with contextlib.suppress(SpecError):
            taken = parse_options({"sbatch": [f"{key}={value}"]}).over(taken)
    for key, value in words.items():
        with contextlib.suppress(SpecError):
            taken = parse_options({key: value}).over(taken)
    return taken


@example({"comment": "a\npwn"}, {}, "x", "x.yaml")
@example({"a;pwn;b": "c"}, {}, "x", "x.yaml")
@example({}, {}, "x\npwn\n", "x.yaml")
@example({}, {}, "x'\npwn\n'", "x.yaml")
@example({"comment": "it's $(pwn)"}, {"partition": "a;pwn"}, "it's `pwn`", "x;pwn.yaml")
@given(
    sbatch=st.dictionaries(st.one_of(st.just("comment"), TEXTS), TEXTS, max_size=3),
    words=st.dictionaries(st.sampled_from(["partition", "account", "qos", "mem"]), TEXTS),
    folder=NAMES,
    study_file=NAMES,
)
def test_a_script_runs_python_in_its_folder_and_nothing_else(
    sbatch: Mapping[str, str], words: Mapping[str, str], folder: str, study_file: str
) -> None:
    cluster = options(sbatch, words)
    with TemporaryDirectory() as place:
        job, here = Job(Path(place)), Path(place, folder)
        here.mkdir()
        command = AgentCommand("python", Path(study_file), here)
        try:
            script = render_script(SUBMISSION, cluster, command, log_dir=here / "logs")
        except SpecError:
            assert not f"{folder}{study_file}".isprintable()
            return
        asked = [line for line in script.splitlines() if line.startswith("#SBATCH --")]
        told = dict(word.partition("=")[::2] for line in asked for word in shlex.split(line[10:]))
        assert told["output"] == str(here).replace("%", "%%") + "/logs/%A_%a.log"
        for key, value in (cluster.sbatch or {}).items():
            assert told[key] == str(value)
        job.run("/bin/bash", script)
        assert job.called() == [str(here), "-m", "sweeper", "run", study_file]
        head = script.partition("set +eu")[0]
        for shell in ("/bin/sh", "/bin/bash"):  # whatever a site has the script read by
            assert job.run(shell, f'{head}printf %s "$PWD"\n') == str(here)


@given(text=TEXTS)
def test_an_option_of_sbatch_is_one_line_and_its_key_a_word(text: str) -> None:
    for word in (f"{text}=x", f"comment={text}"):
        with contextlib.suppress(SpecError):
            [(key, value)] = (parse_options({"sbatch": [word]}).sbatch or {}).items()
            assert key.replace("-", "").isalnum()
            assert len(f"{key}={value}".splitlines()) == 1
