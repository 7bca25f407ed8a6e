"""MLflow's page, as a person sees it, on the store of a finished study."""

import subprocess
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


def test_the_links_of_ui_show_the_trials_best_first_and_their_curves(
    sweep: Sweep, port: int
) -> None:
    from playwright.sync_api import sync_playwright

    sweep.write_default(trials=4)
    assert sweep.run().returncode == 0
    names = [run.info.run_name for run in sweep.runs()]
    values = [run.data.metrics["best_val_accuracy"] for run in sweep.runs()]
    best_first = [name for _, name in sorted(zip(values, names, strict=True), reverse=True)]
    server = subprocess.Popen(
        sweep.command("ui", "sweep.yaml", "--port", str(port)),
        cwd=sweep.folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        _, table, curves = (server.stdout.readline().partition(": ")[2].strip() for _ in range(3))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            page.goto(table)
            page.get_by_text(names[0], exact=True).wait_for(timeout=60_000)
            shown = page.get_by_role("link").all_inner_texts()
            assert [name for name in shown if name in names] == best_first
            page.goto(curves)
            for metric in ("best_val_accuracy", "val_accuracy", "train_loss"):
                page.get_by_text(metric, exact=True).first.wait_for(timeout=60_000)
            browser.close()
    finally:
        server.terminate()
        server.wait(30)
        kill_group(server)
