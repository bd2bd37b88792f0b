"""The one page, with its style and its scripts inside: it needs nothing from anywhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).with_name("page")


@cache
def html() -> str:
    """Return the page: `/* name */` in it stands for the file of that name."""
    text = (HERE / "index.html").read_text()
    for part in ("style.css", "chart.js", "live.js"):
        text = text.replace(f"/* {part} */", (HERE / part).read_text())
    return text
