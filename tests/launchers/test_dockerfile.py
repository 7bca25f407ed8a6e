"""What of the image can be known without building it."""

import fnmatch
import re
import tomllib
from pathlib import Path

from sweeper.launchers.kubernetes.pod import WORK_DIR

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().splitlines()


def words_of(instruction: str) -> list[list[str]]:
    return [line.split()[1:] for line in LINES if line.startswith(instruction + " ")]


def is_ignored(path: str) -> bool:
    """Whether the last line of ``.dockerignore`` that fits leaves the path out."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line.startswith("#") and fnmatch.fnmatch(path, line.removeprefix("!")):
            ignored = not line.startswith("!")
    return ignored


def test_what_is_copied_is_there_and_not_ignored() -> None:
    sources = [word for words in words_of("COPY") for word in words[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if is_ignored(source)] == []
    assert is_ignored("mlruns")


def test_everything_that_the_build_reads_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = {word for words in words_of("COPY") for word in words[:-1]}
    assert {"pyproject.toml", project["readme"], *project["license-files"]} <= sources


def test_its_python_is_new_enough() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim", words_of("FROM")[0][0])
    least = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"])
    assert found
    assert least
    assert tuple(map(int, found.groups())) >= tuple(map(int, least.groups()))


def test_it_has_what_nodes_without_a_shared_folder_need() -> None:
    assert words_of("RUN")[-1][:5] == [
        "pip",
        "install",
        "--no-cache-dir",
        "--constraint",
        "constraints.txt",
    ]
    assert words_of("RUN")[-1][5] == "'.[postgres,grpc,s3]'"


def test_it_suits_the_jobs_that_we_make() -> None:
    assert words_of("USER")[-1] == ["1000:1000"]
    assert words_of("WORKDIR")[-1] == [WORK_DIR]
    assert words_of("ENTRYPOINT") == [['["python",', '"-m",', '"sweeper"]']]
