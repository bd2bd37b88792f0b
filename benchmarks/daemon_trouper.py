"""One figure of `daemon.py` for trouper."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import trio
from daemon_figures import measure

from trouper import Daemon, current, one_for_one, run, service

if TYPE_CHECKING:
    from collections.abc import Callable


@service(flavour=trio)
class Late:
    def __init__(self, begun: Callable[[], object]) -> None:
        self.begun = begun

    async def run(self) -> None:
        self.begun()


@service(flavour=threading)
class First:
    def run(self) -> None:
        threading.Thread(target=measure, args=(Trouper(current(self).daemon),)).start()


class Trouper:
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def execute(self, payload: Any, flavour: Any) -> Any:
        return self.daemon.execute(payload, flavour=flavour)

    def adopt(self, payload: Any, flavour: Any) -> Any:
        return self.daemon.adopt(payload, flavour=flavour)

    def make_service(self, begun: Callable[[], object]) -> object:
        return Late(begun)


First()
tree = one_for_one()
if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)  # as cobald, which logs nothing unless told to
    run(tree)
