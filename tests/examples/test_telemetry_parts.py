"""The parts of the telemetry example that need no daemon."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from examples.telemetry.database import Database
from examples.telemetry.feed import Feed
from examples.telemetry.host import Host
from examples.telemetry.messages import Alert, Sample
from examples.telemetry.page import html
from examples.telemetry.rule import Alarm, Rule
from examples.telemetry.sampler import Sampler
from examples.telemetry.window import Window
from trouper import child
from trouper.testing import Probe, Trial


def sample(at: float, cpu: float = 0.0) -> Sample:
    return Sample(at, cpu, 50.0, 20.0, 1.0, 2.0, 3.0, 4.0)


def test_a_window_forgets_what_is_too_old() -> None:
    window = Window(10.0)
    assert window.mean == 0.0
    for at in range(11):
        window.add(at, 1.0)
    assert (window.settled, window.mean) == (False, 1.0)
    window.add(11, 12.0)
    assert (window.settled, window.mean) == (True, 2.0)
    window.add(100, 7.0)
    assert window.mean == 7.0


def test_an_alarm_waits_for_a_whole_window_and_clears_below_its_margin() -> None:
    alarm = Alarm(Rule("cpu", above=50.0, over=2.0, margin=3.0))
    seen = [alarm.see(sample(at, cpu)) for at, cpu in enumerate([90, 90, 90, 90, 48, 48, 48, 46, 46, 46])]
    assert [(alert.at, alert.state, alert.mean) for alert in seen if alert] == [
        (3, "raised", 90.0),
        (8, "cleared", pytest.approx(140 / 3)),
    ]
    assert alarm.raised is None


def test_a_new_alarm_goes_on_where_the_last_one_was() -> None:
    rule = Rule("cpu", above=50.0, over=2.0)
    old, new = Alarm(rule), Alarm(rule)
    samples = [sample(at, 90) for at in range(10)]
    alerts = [alert for one in samples if (alert := old.see(one))]
    new.recall(samples[-4:], reversed(alerts))
    assert new == old
    assert new.raised == alerts[0]
    assert new.see(sample(10, 90)) is None


def test_an_alarm_does_not_go_on_with_what_another_rule_raised() -> None:
    alarm = Alarm(Rule("cpu", above=50.0, over=2.0))
    alarm.recall([], [Alert(1.0, "cpu", "raised", 99.0, 90.0, 2.0), Alert(1.0, "memory", "raised", 99.0, 50.0, 2.0)])
    assert alarm.raised is None


@pytest.mark.parametrize("text", ["cpu", "cpu>80", "net>80/10", "cpu>80/10 ", "cpu>-1/10"])
def test_a_wrong_rule_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"as in cpu>80/10 .* not '" + re.escape(text)):
        Rule.parse(text)


def test_a_rule_is_read() -> None:
    assert Rule.parse("memory>90.5/15") == Rule("memory", 90.5, 15.0)


def test_the_host_is_this_one() -> None:
    host = Host()
    seen = host.sample()
    assert seen.memory == pytest.approx(psutil.virtual_memory().percent, abs=10)
    assert seen.disk == pytest.approx(psutil.disk_usage("/").percent, abs=2)
    assert 0 <= seen.cpu <= 100
    assert min(seen.disk_read, seen.disk_write, seen.net_in, seen.net_out) >= 0


def test_a_rate_is_what_was_counted_since_the_last_look_by_the_seconds_between(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [(1000.0, 2000.0, 3000.0, 4000.0), (1000.0, 2500.0, 0.0, 4001.0)]
    monkeypatch.setattr("examples.telemetry.host.counters", iter(counted).__next__)
    host = Host()
    host.seen = (0.0, 0.0, 0.0, 0.0)
    host.at -= 1e6  # so long ago that what the test takes is nothing
    assert host.rates() == pytest.approx((1e-3, 2e-3, 3e-3, 4e-3), rel=1e-3)
    host.at -= 1e6
    assert host.rates() == pytest.approx((0.0, 5e-4, 0.0, 1e-6), rel=1e-3), "a counter that began anew is no rate"


def test_what_the_host_does_is_seen() -> None:
    """Real traffic and a real load; the disks of a container may not be counted."""
    megabyte = b"." * 1_000_000
    before = psutil.net_io_counters()
    host = Host()
    busy_since = sum(psutil.cpu_times()[:3])
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
        here, _ = server.accept()
        sender = threading.Thread(target=there.sendall, args=(megabyte,))
        sender.start()
        left = len(megabyte)
        while left:
            left -= len(here.recv(left))
        sender.join()
        here.close()
    while sum(psutil.cpu_times()[:3]) == busy_since:
        """Work, until the kernel has noticed."""
    seconds = time.monotonic() - host.at
    seen = host.sample()
    assert 0 < seen.cpu <= 100
    if psutil.net_io_counters() == before:
        pytest.skip("this system does not count what its network sends")
    assert min(seen.net_in, seen.net_out) * (seconds + 10) > len(megabyte)


@pytest.mark.parametrize("every", [None, 0.25])
def test_samples_are_as_far_apart_as_it_is_said(every: float | None) -> None:
    """By default a second; in virtual time."""
    store, watcher = Probe(Sample), Probe(Sample)
    sampler: Any = child(Sampler, store.ref, watcher.ref, **({} if every is None else {"every": every}))
    with Trial(sampler, probes=[store, watcher]) as t:
        for count in range(1, 6):
            for probe in (store, watcher):
                probe.expect(Sample, within=10)
                assert t.now == count * (every or 1.0)


def test_what_is_stored_comes_back_also_from_another_connection(tmp_path: Path) -> None:
    database = Database(tmp_path / "new" / "t.db", keep=1000.0)
    stored = [sample(at, cpu=at) for at in range(100)]
    alert = Alert(5.0, "cpu", "raised", 91.0, 90.0, 15.0)
    for row in stored:
        database.add(row)
    database.add(alert)
    database.close()
    database = Database(tmp_path / "new" / "t.db", keep=1000.0)
    assert database.history(90, 0.0) == tuple(stored[90:])
    assert [row.cpu for row in database.history(0, 50.0)] == [24.5, 74.5]
    assert database.alerts(10) == (alert,)
    database.close()


def test_old_samples_are_let_go(tmp_path: Path) -> None:
    database = Database(tmp_path / "t.db", keep=10.0)
    for at in range(100):
        database.add(sample(at))
    assert [row.at for row in database.history(0, 0.0)] == list(range(89, 100))
    database.close()


def test_the_fields_of_the_tables_are_those_of_the_messages(tmp_path: Path) -> None:
    database = Database(tmp_path / "t.db", keep=10.0)
    for table, message in (("sample", Sample), ("alert", Alert)):
        columns = [row[1] for row in database.connection.execute(f"pragma table_info({table})")]
        assert columns == [field.name for field in msgspec.structs.fields(message)]
    database.close()


def test_followers_of_a_feed_get_the_news_and_its_end() -> None:
    async def main() -> list[bytes]:
        feed = Feed()
        got: list[bytes] = []

        async def follow() -> None:
            async for news in feed.follow():
                got.append(news)
                if len(got) < 4:
                    feed.publish(b"%d" % len(got))
                else:
                    await feed.aclose()

        feed.publish(b"0")
        await asyncio.wait_for(follow(), 10)
        return got

    assert asyncio.run(main()) == [b"retry: 500\n\n", b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]


def test_the_page_is_one_file_that_needs_nothing_from_anywhere() -> None:
    page = html()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert not re.search(r"@import|url\(", page)
    assert [address for address in re.findall(r"https?://[^\s'\"]+", page) if "w3.org" not in address] == []
    assert "/* style.css */" not in page
    assert "/* live.js */" not in page
