"""MLflow's page, as a person sees it, on the store of a finished study."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweep import Sweep, kill_group

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = [
    pytest.mark.gate,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}"),
]


#: Where elements stand from the left, and their texts; the grid draws them in any order.
PLACES = "all => all.map(one => [one.getBoundingClientRect().x, one.innerText])"
STUDY = """
budget: {trials: 6}
pruner: {name: asha, min_epochs: 1, reduction_factor: 2}
data: {name: digits, batch_size: {choices: [64, 128]}}
model:
  architecture:
    choices:
      mlp: {depth: {low: 1, high: 2}}
      own:build: {width: {choices: [8, 13]}}
train: {epochs: 3, learning_rate: {low: 1e-4, high: 1e-1, log: true}}
enqueue:
  - {model.architecture: own:build, model.architecture.own:build.width: 13}
  - {model.architecture: mlp, train.learning_rate: 0.01}
  - {model.architecture: mlp, train.learning_rate: 0.0001}
run: {workers: 1}
"""
CODE = """
from torch import nn

def build(input_shape, n_outputs, width):
    assert width != 13, "number thirteen is unlucky"
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, n_outputs))
"""


@pytest.fixture
def links(sweep: Sweep, port: int) -> Iterator[list[str]]:
    """What `sweeper ui` prints, on a conditional study with pruned trials and one that failed."""
    sweep.write(STUDY)
    sweep.write_code(CODE)
    assert sweep.run().returncode == 0
    assert set(sweep.states().values()) == {"complete", "pruned", "failed"}
    server = subprocess.Popen(
        sweep.command("ui", "sweep.yaml", "--port", str(port), "--dashboard"),
        cwd=sweep.folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        yield [server.stdout.readline().partition(": ")[2].strip() for _ in range(3)]
    finally:
        server.terminate()
        server.wait(30)
        kill_group(server)


def test_the_page_of_ui_compares_the_trials(sweep: Sweep, links: list[str]) -> None:
    from playwright.sync_api import sync_playwright

    table, charts, dashboard = links
    runs = {run.info.run_name: run.data.metrics for run in sweep.runs()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.goto(table)
        page.get_by_text(next(iter(runs)), exact=True).wait_for(timeout=60_000)
        shown = [name for name in page.get_by_role("link").all_inner_texts() if name in runs]
        values = [runs[name].get("best_val_accuracy", -1.0) for name in shown]
        assert len(shown) == len(runs)
        assert values == sorted(values, reverse=True)
        headers = page.get_by_role("columnheader").evaluate_all(PLACES)
        columns = list(dict.fromkeys(text for _, text in sorted(headers)))
        expected = ["best_val_accuracy", "sweeper.state", "data.batch_size", "model.architecture"]
        assert [column for column in columns if column in expected] == expected
        for state in ("complete", "pruned", "failed"):
            assert page.get_by_role("gridcell", name=state, exact=True).count()
        assert page.get_by_placeholder("Ask a question").count() == 0  # the assistant
        page.goto(charts)
        for title in ("What was searched", "model.architecture = mlp"):
            page.get_by_text(title).first.wait_for(timeout=60_000)
        page.goto(dashboard)
        page.get_by_text("Hyperparameter Importance").first.wait_for(timeout=60_000)
        assert "token" not in page.url
        browser.close()
