"""One figure of `daemon.py` for cobald.daemon, in an environment that has it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import trio
from cobald.daemon import runtime, service
from daemon_figures import measure

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
        threading.Thread(target=measure, args=(Cobald(),)).start()


class Cobald:
    def execute(self, payload: Any, flavour: Any) -> Any:
        return runtime.execute(payload, flavour=flavour)

    def adopt(self, payload: Any, flavour: Any) -> Any:
        return runtime.adopt(payload, flavour=flavour)

    def make_service(self, begun: Callable[[], object]) -> object:
        return Late(begun)


first = First()  # it is forgotten if nobody keeps it
if __name__ == "__main__":
    runtime.accept()
