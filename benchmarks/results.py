"""The page of published figures: a section for each benchmark, written by it."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "RESULTS.md"


def write_section(title: str, body: str, page: Path = PAGE) -> None:
    """Replace the section of that title, or add it at the end."""
    text = page.read_text(encoding="utf-8") if page.exists() else "# Results\n"
    others = [
        section.rstrip()
        for section in re.split(r"\n(?=## )", text)
        if section.partition("\n")[0] != f"## {title}"
    ]
    section = f"## {title}\n\n{body.strip()}"
    page.write_text("\n\n".join([*others, section]) + "\n", encoding="utf-8")
