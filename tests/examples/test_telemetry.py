"""The telemetry example as its user meets it: a real process, its HTTP interface, and signals."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.examples.station import Station

pytestmark = pytest.mark.once

NAMES = ["store", "watcher", "sampler", "web"]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with Station(tmp_path_factory.mktemp("telemetry") / "t.db") as station:
        yield station.up()


def test_the_figures_are_those_of_this_host(station: Station) -> None:
    news = station.until(lambda news: news["sample"])
    sample = news["sample"]
    assert sample["at"] == pytest.approx(time.time(), abs=10)
    assert sample["memory"] == pytest.approx(psutil.virtual_memory().percent, abs=15)
    assert sample["disk"] == pytest.approx(psutil.disk_usage("/").percent, abs=2)
    host = station.get("/api/state")["host"]
    assert (host["name"], host["cores"]) == (platform.node(), psutil.cpu_count())


def test_everybody_is_on_the_roll(station: Station) -> None:
    flavours = {name: station.actor(name)["flavour"] for name in NAMES}
    assert flavours == {"store": "threading", "watcher": "trio", "sampler": "threading", "web": "asyncio"}
    assert {station.actor(name)["state"] for name in NAMES} == {"running"}


@pytest.mark.parametrize("name", NAMES)
def test_who_crashes_is_healed_and_what_was_stored_is_still_there(station: Station, name: str) -> None:
    station.until(lambda news: news["sample"])
    before = station.get("/api/history?seconds=300")["samples"]
    generation = station.actor(name)["generation"]

    assert station.client.post(f"/api/crash/{name}").status_code == httpx.codes.ACCEPTED
    news = station.until(lambda news: station.actor(name, news)["generation"] == generation + 1)
    assert station.actor(name, news)["state"] == "running"
    assert station.actor(name, news)["last"] == "crashed: OnPurpose: asked to, over HTTP"

    last = before[-1]["at"]
    station.until(lambda news: news["sample"] and news["sample"]["at"] > last + 1)
    after = station.get("/api/history?seconds=300")["samples"]
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_the_history_comes_as_means_when_it_is_long(station: Station) -> None:
    answer = station.get("/api/history?seconds=3600")
    assert answer["every"] == 12
    assert len(answer["samples"]) <= len(station.get("/api/history?seconds=300")["samples"])


REFUSED = {
    "an unknown actor": (
        ("POST", "/api/crash/nobody", {}),
        (404, "there is no actor 'nobody'; there are store, watcher, sampler, web"),
    ),
    "another site": (
        ("POST", "/api/crash/store", {"sec-fetch-site": "cross-site"}),
        (403, "only this daemon's own page may do that"),
    ),
    "looking": (("GET", "/api/crash/store", {}), (405, "Method Not Allowed")),
    "no number": (("GET", "/api/history?seconds=soon", {}), (400, "seconds must be a whole number, not 'soon'")),
    "another host": (("GET", "/", {"host": "evil.example"}), (400, "Invalid host header")),
}


@pytest.mark.parametrize(("wrong", "answer"), REFUSED.values(), ids=REFUSED)
def test_wrong_requests_are_refused(
    station: Station, wrong: tuple[str, str, dict[str, str]], answer: tuple[int, str]
) -> None:
    method, path, headers = wrong
    got = station.client.request(method, path, headers=headers)
    assert (got.status_code, got.text) == answer


def test_sigterm_ends_it_in_good_order_while_somebody_looks_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with Station(tmp_path / "t.db") as station:
        with station.up().live() as stream:
            first = next(news["sample"] for news in stream if news["sample"])
            began = time.monotonic()
            code, log = station.stop()
            assert code == 0, log
            assert time.monotonic() - began < 5
            for _ in stream:
                """What was on its way; then the stream ends, and is not broken off."""
        assert "Traceback" not in log
    with Station(tmp_path / "t.db") as station:
        assert first in station.up().get("/api/history?seconds=300")["samples"]


def test_an_alert_is_raised_once_and_a_new_watcher_knows_of_it(tmp_path: Path) -> None:
    with Station(tmp_path / "t.db", rules="memory>0/1") as station:
        (alert,) = station.up().until(lambda news: news["raised"])["raised"]
        assert (alert["metric"], alert["state"]) == ("memory", "raised")
        assert station.client.post("/api/crash/watcher").status_code == httpx.codes.ACCEPTED
        news = station.until(lambda news: station.actor("watcher", news)["generation"] == 2 and news["sample"])
        assert news["raised"] == [alert]
        assert station.get("/api/alerts")["alerts"] == [alert]


def test_a_port_that_is_taken_ends_it_with_a_reason(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Station(tmp_path / "t.db", port=taken.getsockname()[1]) as station,
    ):
        code, log = station.end()
    assert code == 70
    assert "/web" in log
    assert "Address already in use" in log


def test_a_wrong_rule_ends_it_with_a_reason(tmp_path: Path) -> None:
    with Station(tmp_path / "t.db", rules="cpu is high") as station:
        code, log = station.end()
    assert code == 78
    assert "as in cpu>80/10" in log
