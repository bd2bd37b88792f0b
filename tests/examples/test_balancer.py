"""The balancer: its rule, its loop, and the whole of it on this host."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from examples.balancer.controller import Band, Controller
from examples.balancer.messages import Report, Status
from examples.balancer.meter import Meter
from examples.balancer.worker import Worker
from tests.actors.stage import until
from tests.examples.station import ROOT
from trouper import child, one_for_one, open_daemon, pool

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("supply", "load", "wanted"),
    [(3, 39.9, 4), (3, 40.0, 3), (3, 70.0, 3), (3, 70.1, 2), (1, 99.0, 1), (5, 0.0, 5), (0, 50.0, 1)],
)
def test_one_worker_more_below_the_band_and_one_less_above_it_within_bounds(
    supply: int, load: float, wanted: int
) -> None:
    assert Band.parse("40-70", most=5).demand(supply, load) == wanted


@pytest.mark.parametrize(
    ("text", "most"),
    [("70-40", 5), ("40-40", 5), ("-1-40", 5), ("40-101", 5), ("40-70", 0), ("70", 5), ("a-b", 5), ("1-2-3", 5)],
)
def test_a_band_that_cannot_be_is_refused(text: str, most: int) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Band.parse(text, most)


async def test_the_loop_follows_the_load_up_and_down() -> None:
    load = 0.0
    workers = pool(child(Worker), size=1, name="workers")
    controller = child(Controller, Band(40, 70, most=3), workers.ref)
    meter = child(Meter, lambda: load, controller.ref, every=0.002)

    async with open_daemon(one_for_one(workers, controller, meter)):
        await until(lambda: workers.ref.size == 3)
        load = 100.0
        await until(lambda: workers.ref.size == 1)
        assert await controller.ref.ask(Status()) == Report(load=100.0, demand=1, supply=1)


def test_on_this_host_it_tells_the_load_and_how_many_workers_run() -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "trouper", "run", "examples/balancer/app.py:tree"],
        cwd=ROOT,
        env={**os.environ, "BALANCER_PORT": "0", "BALANCER_MOST": "4"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    silent = socket.socket()
    try:
        url = next(found[0] for line in daemon.stderr if (found := re.search(r"http://\S+", line)))
        report = httpx.get(url, timeout=20).json()
        assert 0 <= report["load"] <= 100
        assert 1 <= report["supply"] <= 4
        silent.connect(("127.0.0.1", httpx.URL(url).port))
        daemon.send_signal(signal.SIGTERM)  # a client that says nothing does not hold it
        assert daemon.wait(20) == 0, daemon.stderr.read()
    finally:
        daemon.kill()
        daemon.wait()
        silent.close()
        daemon.stderr.close()
