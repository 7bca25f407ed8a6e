from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.commands.progress import Progress
from sweeper.commands.screen import Notebook
from sweeper.errors import StudyError
from sweeper.trial import Objective
from tests.support.sweep_studies import begin, raises, reports, run_trial

ACCURACY = Objective(("val_accuracy",), ("maximize",))


@pytest.fixture
def outputs() -> Iterator[list[dict[str, object]]]:
    """What a notebook is shown."""
    shells = pytest.importorskip("IPython.core.interactiveshell", reason="needs the extra `dev`")
    displays = pytest.importorskip("IPython.core.displaypub")
    shell = shells.InteractiveShell.instance()
    shell.display_pub = displays.CapturingDisplayPublisher()
    yield shell.display_pub.outputs
    shells.InteractiveShell.clear_instance()


def test_a_notebook_shows_a_table_in_one_place_once_a_second_and_no_warning(
    tmp_path: Path, outputs: list[dict[str, dict[str, str]]], capfd: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path, budget={"trials": 4})
    clock = [0.0]
    screen = Notebook(ACCURACY, lambda: clock[0])
    progress = Progress(screen, study)
    screen.begin(["small: 4 trials to finish"])
    for accuracy in (0.25, 0.5, 0.75):
        run_trial(study, reports(accuracy))
        progress.show(study.cache.look(), {})
        clock[0] += 0.5
    run_trial(study, raises(StudyError("no <b>")))
    progress.show(study.cache.look(), {})
    progress.note("by the way")
    screen.close()
    pages = [output["data"]["text/html"] for output in outputs]
    assert [output["update"] for output in outputs] == [False, True, True]
    assert len({str(output["transient"]) for output in outputs}) == 1
    assert "0.75" not in pages[0]
    assert "1/4 trials" in pages[0]
    assert "0.75" in pages[1]
    assert "3/4 trials" in pages[1]
    assert pages[2] == ""
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [
        "small: 4 trials to finish",
        "trial 3 failed: StudyError: no <b>",
        "by the way",
    ]
    assert shown.err == ""
