import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from sweeper import __version__
from sweeper.workers.versions import check_torch_pair, version_tags


def test_torch_and_torchvision_belong_together() -> None:
    check_torch_pair()


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def tags(folder: Path, *own: Path) -> dict[str, str]:
    """Of a folder that git says all of."""
    told: list[str] = []
    found = version_tags(folder, own, told.append)
    assert told == []
    return found


def commit_study(folder: Path) -> Path:
    """A repository with a study, all committed; the study's folder."""
    git(folder, "init", "--quiet")
    (folder / "studies").mkdir()
    (folder / "studies" / "small.yaml").write_text("a: 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--no-gpg-sign", "--message", "first")
    return folder / "studies"


def test_tags_say_which_code_ran(tmp_path: Path) -> None:
    found = tags(tmp_path)
    assert found["version.sweeper"] == __version__
    assert found["version.python"] == platform.python_version()
    assert found["version.torch"] == version("torch")
    assert "git_commit" not in found


def test_tags_name_the_commit_of_the_studys_folder_and_whether_it_was_clean(
    tmp_path: Path,
) -> None:
    studies = commit_study(tmp_path)
    assert tags(studies)["git_commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert tags(studies)["git_dirty"] == "false"
    (studies / "small.yaml").write_text("a: 2\n")
    assert tags(studies)["git_dirty"] == "true"


def test_what_sweeper_and_python_write_is_no_change_of_the_code(tmp_path: Path) -> None:
    studies = commit_study(tmp_path)
    own = [tmp_path / "mlruns", studies / "data/MNIST/raw", Path("/elsewhere")]
    for folder in (*own[:2], studies / "nets/__pycache__"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    assert tags(studies, *own)["git_dirty"] == "false"
    assert tags(studies, *own[1:])["git_dirty"] == "true"
    (studies / "nets/wide.py").touch()
    assert tags(studies, *own)["git_dirty"] == "true"


def test_a_commit_that_git_does_not_tell_is_not_missing_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    told: list[str] = []
    assert "git_commit" not in version_tags(tmp_path, (), told.append)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git_commit" not in version_tags(tmp_path, (), told.append)
    begin = f"WARNING: the trials are not tagged with the git commit of {tmp_path}: "
    without_commit, without_git = told
    assert without_commit.startswith(f"{begin}git says: fatal: ")
    assert without_git == f"{begin}git cannot be run: No such file or directory"
