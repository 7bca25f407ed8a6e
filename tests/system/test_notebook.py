"""The notebook of docs/python.md, from top to bottom in a real kernel, and one interrupted."""

import re
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.reader import load_study
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.study.result import Result
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep import PATIENCE_S, wait_until

nbformat = pytest.importorskip("nbformat", reason="needs the extra `dev`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `dev`")
pytest.importorskip("ipykernel", reason="needs the extra `dev`")
start_new_kernel = pytest.importorskip("jupyter_client.manager").start_new_kernel
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CELLS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
WAITS = """
import time
from pathlib import Path
from typing import Any
import sweeper

def wait(params, trial):
    for epoch in range(1, 100_000):
        trial.report(epoch, score=1.0)
        Path("running").touch()
        time.sleep(0.02)

sweeper.run(sweeper.Study(
    name="waits",
    objective={"metric": "score", "direction": "maximize"},
    pruner={"name": "none"},
    train={"function": wait},
    run={"workers": 1},
    tracking={"log_models": "none"},
))
"""


def result(folder: Path, name: str) -> Result:
    paths = RunPaths(folder / "mlruns", name)
    study = load_study_from_storage(load_study(paths.resolved_spec), paths)
    assert study is not None
    return Result(study)


def reply_to(client: Any, asked: str) -> dict[str, Any]:
    """How a cell ended."""
    while True:
        reply: dict[str, Any] = client.get_shell_msg(timeout=PATIENCE_S)
        if reply["parent_header"]["msg_id"] == asked:
            return reply["content"]  # type: ignore[no-any-return]


def test_the_notebook_of_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    copy_empty_database(tmp_path / "mlruns" / "mlflow.db")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=2 * PATIENCE_S, resources=place).execute()
    outputs = [output for cell in book.cells for output in cell.outputs]
    streams = [(output.name, output.text) for output in outputs if "name" in output]
    assert {name for name, _ in streams} == {"stdout"}, streams  # the other looks like an error
    assert result(tmp_path, "circle").n_finished == 6
    assert result(tmp_path, "line").n_finished == 4
    study, table, best, *figures, predicted, line = [cell.outputs[-1].data for cell in book.cells]
    assert "<td>train.learning_rate</td>" in study["text/html"]
    assert "circle: 6 of 6 trials, best val_accuracy" in table["text/html"]
    assert "val_accuracy" in best["text/html"]
    assert ["application/vnd.plotly.v1+json" in figure for figure in figures] == [True] * 3
    assert predicted["text/plain"] == "array([1, 0])"
    assert "error" in line["text/plain"]


def test_an_interrupt_puts_trials_back_and_the_same_cell_goes_on(tmp_path: Path) -> None:
    copy_empty_database(tmp_path / "mlruns" / "mlflow.db")
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        asked = client.execute(WAITS)
        wait_until((tmp_path / "running").exists)
        manager.interrupt_kernel()
        assert reply_to(client, asked)["ename"] == "KeyboardInterrupt"
        [row] = result(tmp_path, "waits").rows()
        assert (row["state"], row["epochs"] > 0) == ("waiting", True)
        again = client.execute(WAITS.replace("100_000", "3"))
        assert reply_to(client, again)["status"] == "ok"
        assert list(result(tmp_path, "waits").trials()["state"]) == ["complete"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
