"""README and docs/ hang together, and the tables of keys are the schema's."""

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/RESULTS.md", *DOCS]
STUDY_FILE = ROOT / "docs" / "study-file.md"
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "study-file-page"))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if not path.startswith("https://"):
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = ROOT / "README.md"
    assert readme.stat().st_size <= 7_000
    assert {f"docs/{page.name}" for page in DOCS} <= set(links(readme))


def test_every_picture_is_shown_and_small() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    for picture in (ROOT / "docs").glob("*.png"):
        assert picture in shown, picture.name
        assert picture.stat().st_size < 200_000, picture.name


def test_the_tables_of_keys_are_those_that_the_script_writes() -> None:
    page = STUDY_FILE.read_text(encoding="utf-8")
    assert GENERATOR["rewritten"](page) == page, "run scripts/study-file-page"


def test_the_script_writes_a_table_anew_and_nothing_else() -> None:
    page = STUDY_FILE.read_text(encoding="utf-8")
    [row] = re.findall(r"^\| `train.learning_rate` .*\n", page, re.MULTILINE)
    assert GENERATOR["rewritten"](page.replace(row, "")) == page
    assert GENERATOR["rewritten"](f"{page}\n| `train.x` |\n") == f"{page}\n| `train.x` |\n"


def test_each_key_of_the_schema_stands_on_the_page_once() -> None:
    rows = re.findall(
        r"^\| `([a-z_.0-9]+)` \|", STUDY_FILE.read_text(encoding="utf-8"), re.MULTILINE
    )
    known = GENERATOR["schema_keys"]()
    assert "model.architecture" in known
    counted = Counter(rows)
    assert {key: counted[key] for key in known} == dict.fromkeys(known, 1)


@pytest.mark.parametrize(
    ("key", "values", "default"),
    [
        ("train.learning_rate", "number > 0", "`0.001`"),
        ("train.momentum", "number >= 0 and < 1", "`0.9`"),
        ("train.optimizer", "`sgd`, `adam`, `adamw`, `rmsprop`", "`adamw`"),
        ("train.patience", "whole number >= 1", "none"),
        ("data.name", "such as `mnist`, `fashion_mnist`, ", "required"),
        ("data.size", "digits: whole number from 8 to 256; images: whole number", "digits: `8`"),
        (
            "model.depth",
            "mlp: whole number from 0 to 1,000; cnn: whole number from 1 to",
            "mlp, cnn, transformer: `2`; resnet, rnn: `1`; bag: `0`",
        ),
        ("run.workers", "`auto` or whole number >= 1", "`auto`"),
        ("cluster.jobs", "whole number from 1 to 10,000", "1"),
        ("cluster.mem", "such as `16G`", "the site's"),
    ],
)
def test_a_row_says_bounds_and_default(key: str, values: str, default: str) -> None:
    page = STUDY_FILE.read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| `{key}` \|.*\n", page, re.MULTILINE)
    cells = [cell.strip() for cell in row.split(" | ")]
    assert cells[2].startswith(values)
    assert cells[3].rstrip("| \n") == default
