"""The asyncio lane on uvloop, where it is asked for."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading

import pytest
import trio

from trouper import Request, UsageError, actor, child, one_for_one
from trouper.daemon.daemon import Daemon

needs_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


class Loop(Request[str]):
    """Where does the handler run?"""


@actor(flavour=asyncio)
class Where:
    async def receive(self, message: Loop) -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__


@needs_uvloop
@pytest.mark.parametrize(("asked", "module"), [(True, "uvloop"), (False, "asyncio.unix_events")])
def test_the_asyncio_lane_runs_on_uvloop_where_it_is_asked_for(*, asked: bool, module: str) -> None:
    where = child(Where)
    daemon = Daemon(one_for_one(where), uvloop=asked)
    control = threading.Thread(target=trio.run, args=(daemon.main,))
    control.start()
    try:
        assert where.ref.ask_sync(Loop(), timeout=20.0) == module
    finally:
        daemon.stop()
        control.join(20.0)
    assert not control.is_alive()


def test_uvloop_asked_for_and_not_installed_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(UsageError, match=r"not installed; allowed: pip install 'trouper\[uvloop\]'"):
        Daemon(child(Where), uvloop=True)
