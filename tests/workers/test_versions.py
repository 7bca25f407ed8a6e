import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

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


def test_tags_say_which_code_ran(tmp_path: Path) -> None:
    tags = version_tags(tmp_path)
    assert tags["version.sweeper"] == __version__
    assert tags["version.python"] == platform.python_version()
    assert tags["version.torch"] == version("torch")
    assert "git_commit" not in tags


def test_tags_name_the_commit_of_the_studys_folder_and_whether_it_was_clean(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "small.yaml").write_text("a: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "--message", "first")
    tags = version_tags(tmp_path / "studies")
    assert tags["git_commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert tags["git_dirty"] == "false"
    (tmp_path / "studies" / "small.yaml").write_text("a: 2\n")
    assert version_tags(tmp_path / "studies")["git_dirty"] == "true"
