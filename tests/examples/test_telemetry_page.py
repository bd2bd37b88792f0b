"""The page of the telemetry example in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.browser import CHROMIUM, Browser, browser
from tests.examples.station import Station

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path; Debian: apt-get install chromium"),
]
LIVE = "document.querySelector('#link').dataset.state === 'live'"
FIGURES = """[...document.querySelectorAll('.figure')].map(
    card => [card.dataset.figure, card.querySelector('.value').innerText])"""
GENERATION = "document.querySelector('[data-actor=sampler] .generation').textContent"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with Station(tmp_path / "t.db", rules="memory>0/1 cpu>85/15") as station:
        yield station.up()


@pytest.fixture
def page(station: Station, tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path / "profile") as page:
        page.open(station.url)
        yield page


def test_the_page_shows_live_figures_and_heals_before_ones_eyes(
    page: Browser, station: Station, tmp_path: Path
) -> None:
    page.until(LIVE)
    figures = dict(page.evaluate(FIGURES))
    assert list(figures) == ["cpu", "memory", "disk", "network"]
    assert all(text[0].isdigit() for text in figures.values())
    memory = station.until(lambda news: news["sample"])["sample"]["memory"]
    assert float(figures["memory"].removesuffix("%")) == pytest.approx(memory, abs=15)

    path = page.until("document.querySelector('[data-figure=cpu] .trace')?.getAttribute('d')")
    page.until(f"document.querySelector('[data-figure=cpu] .trace').getAttribute('d') !== '{path}'")  # it moves
    page.until("document.querySelector('#alerts [data-now]')?.textContent.includes('Memory above 0 %')")

    assert page.evaluate(GENERATION) == "gen 1"
    page.evaluate("document.querySelector('[data-actor=sampler] button').click()")
    page.until(f"{GENERATION} === 'gen 2'")
    page.evaluate("document.querySelector('[data-actor=web] button').click()")  # the stream's own actor
    page.until("document.querySelector('[data-actor=web] .generation').textContent === 'gen 2'")
    page.until(LIVE)

    picture = tmp_path / "page.png"
    page.screenshot(picture)
    assert picture.stat().st_size > 20_000
