"""What cobald's users rely on, as a table: a payload of each flavour, what it comes to, how and when and from where it
is asked for, and where that goes.

The table is `told` (what the caller is told) and `ends` (how the daemon ends). What differs from cobald on purpose
stands in docs/cobald.md.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Literal, NamedTuple

import attrs
import pytest
import trio

from tests.actors.stage import FLAVOURS, PATIENCE, Diary, FlavourName, Host
from tests.daemon.program import run_code
from trouper import (
    Child,
    Daemon,
    DaemonFailed,
    DaemonStopped,
    NotRunning,
    OrphanedReturn,
    Request,
    RestartLimitExceeded,
    Services,
    actor,
    child,
    current,
    one_for_one,
    service,
)

Outcome = Literal["None", "a value", "Oops", "KeyboardInterrupt", "SystemExit"]
How = Literal["adopt", "execute", "service"]
When = Literal["before", "during", "after"]
From = Literal["trio", "asyncio", "threading", "foreign"]


HOWS: tuple[How, ...] = ("adopt", "execute", "service")
WHENS: tuple[When, ...] = ("before", "during")
FOREIGN: From = "foreign"


class Oops(Exception): ...


RESULTS: dict[Outcome, Callable[[], object]] = {
    "None": lambda: None,
    "a value": lambda: 3,
    "Oops": Oops,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
}


class Scene(NamedTuple):
    """One line of the table."""

    flavour: FlavourName
    outcome: Outcome
    how: How
    when: When
    origin: From

    @property
    def told(self) -> object:
        """What the caller gets: a result, or the class of an error."""
        if self.when == "after":
            return TOO_LATE.get(self.how)
        if self.how != "execute":
            return None
        result = RESULTS[self.outcome]()
        return type(result) if isinstance(result, BaseException) else result

    @property
    def ends(self) -> tuple[int, type[BaseException]] | None:
        """The exit code and the cause; None: the daemon goes on."""
        return None if self.when == "after" else ENDS.get((self.how, self.outcome))


TOO_LATE = {"adopt": NotRunning, "execute": DaemonStopped}
HOPELESS: dict[Outcome, tuple[int, type[BaseException]]] = {
    "KeyboardInterrupt": (70, KeyboardInterrupt),
    "SystemExit": (3, SystemExit),
}
CUT_SHORT: dict[str, type[BaseException]] = {"trio": trio.Cancelled, "asyncio": asyncio.CancelledError}
"""What is told if the end of the daemon, which cancels the start of its actors, was quicker."""
ENDS: dict[tuple[How, Outcome], tuple[int, type[BaseException]]] = {
    ("adopt", "a value"): (70, OrphanedReturn),
    ("adopt", "Oops"): (70, Oops),
    ("service", "Oops"): (70, RestartLimitExceeded),
    **{(how, outcome): end for how in HOWS for outcome, end in HOPELESS.items()},
}


def scenes() -> Iterator[Scene]:
    for flavour, outcome, how in product(FLAVOURS, RESULTS, HOWS):
        for when, origin in product(WHENS, (*FLAVOURS, FOREIGN)):
            yield Scene(flavour, outcome, how, when, origin)
        yield Scene(flavour, outcome, how, "after", "foreign")


def finish(result: object) -> object:
    if isinstance(result, BaseException):
        raise result
    return result


class Play:
    """A scene, and what was seen of it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.result = RESULTS[scene.outcome]()
        self.told = Diary()
        self.ran = Diary()

    def payload(self) -> Any:
        """What is run: it suspends where it can."""

        def plain() -> object:
            self.ran(threading.current_thread().name)
            return finish(self.result)

        async def suspends() -> object:
            await trio.lowlevel.checkpoint() if self.scene.flavour == "trio" else None
            return plain()

        return plain if self.scene.flavour == "threading" else suspends

    def service(self) -> type[Any]:
        payload = self.payload()
        if self.scene.flavour == "threading":
            plain: Any = type("One", (), {"run": lambda self: payload()})
            return service(flavour="threading", backoff=None)(plain)

        async def run(_: object) -> object:
            return await payload()

        one: Any = type("One", (), {"run": run})
        return service(flavour=self.scene.flavour, backoff=None)(one)

    def act_at_once(self, daemon: Daemon) -> object:
        """What does not wait."""
        if self.scene.how == "adopt":
            daemon.adopt(self.payload(), flavour=self.scene.flavour, name="one")
        else:
            with daemon.services.here():
                self.service()()
        return None

    def act(self, daemon: Daemon) -> None:
        """In a thread."""
        try:
            if self.scene.how == "execute":
                self.told(daemon.execute(self.payload(), flavour=self.scene.flavour, timeout=PATIENCE))
            else:
                self.told(self.act_at_once(daemon))
        except BaseException as error:
            self.told(type(error))
            if not isinstance(error, Exception):
                raise

    async def act_async(self, daemon: Daemon) -> None:
        """In a loop."""
        try:
            if self.scene.how == "execute":
                self.told(await daemon.call(self.payload(), flavour=self.scene.flavour, timeout=PATIENCE))
            else:
                self.told(self.act_at_once(daemon))
        except BaseException as error:
            self.told(type(error))
            if not isinstance(error, Exception):
                raise

    def act_from_outside(self, daemon: Daemon) -> threading.Thread:
        def act() -> None:
            with suppress(BaseException):  # it has been told
                self.act(daemon)

        thread = threading.Thread(target=act)
        thread.start()
        return thread


class Act(Request[None]): ...


@actor(flavour="trio")
class InTrio:
    play: Play

    async def on_start(self) -> None:
        if self.play.scene.when == "before":
            await self.play.act_async(current(self).daemon)

    async def receive(self, message: Act) -> None:
        await self.play.act_async(current(self).daemon)


@actor(flavour="asyncio")
class InAsyncio:
    play: Play

    async def on_start(self) -> None:
        if self.play.scene.when == "before":
            await self.play.act_async(current(self).daemon)

    async def receive(self, message: Act) -> None:
        await self.play.act_async(current(self).daemon)


@actor(flavour="threading")
class InThread:
    play: Play

    def on_start(self) -> None:
        if self.play.scene.when == "before":
            self.play.act(current(self).daemon)

    def receive(self, message: Act) -> None:
        self.play.act(current(self).daemon)


@actor(flavour="threading")
class LetsOthersAct:
    """The tree is not up as long as a foreign thread acts."""

    play: Play

    def on_start(self) -> None:
        if self.play.scene.when == "before":
            self.play.act_from_outside(current(self).daemon).join(PATIENCE)

    def receive(self, message: Act) -> None:
        self.play.act_from_outside(current(self).daemon).join(PATIENCE)


CAST: dict[str, Any] = {"trio": InTrio, "asyncio": InAsyncio, "threading": InThread, "foreign": LetsOthersAct}


@pytest.mark.once
@pytest.mark.parametrize("scene", list(scenes()), ids=" ".join)
def test_a_payload_comes_to_what_the_table_says(scene: Scene) -> None:
    play, services = Play(scene), Services()
    one: Child[Act] = child(CAST[scene.origin], play)
    daemons: list[Daemon] = []

    async def body(daemon: Daemon) -> None:
        daemons.append(daemon)
        if scene.when == "during":
            one.ref.send(Act())
        if scene.when != "after":
            await play.ran.until(1)
            await play.told.until(1)
        if scene.ends is not None:
            await trio.sleep_forever()

    if scene.ends is None:
        Host("trio").run(one_for_one(one), body, services=services)
    else:
        with pytest.raises(DaemonFailed) as failed:
            Host("trio").run(one_for_one(one), body, services=services)
        assert (failed.value.exit_code, type(failed.value.__cause__)) == scene.ends
    if scene.when == "after":
        play.act_from_outside(daemons[0]).join(PATIENCE)
        assert play.ran == []
        assert len(services) == (1 if scene.how == "service" else 0)  # it waits for the next daemon
    if scene.how == "execute" and scene.outcome in HOPELESS and scene.when == "before":
        assert play.told in ([scene.told], [CUT_SHORT.get(scene.origin)])
    else:
        assert play.told == [scene.told]
    threads = {"trio": threading.current_thread().name, "asyncio": "trouper asyncio"}
    own = {"adopt": "trouper payload", "execute": "trouper payload", "service": "/services/one"}
    if scene.when != "after":
        assert set(play.ran.entries) == {threads.get(scene.flavour, own[scene.how])}
        assert len(play.ran.entries) == (4 if scene.how == "service" and scene.outcome == "Oops" else 1)


def test_the_table_has_a_line_for_everything() -> None:
    assert len(list(scenes())) == 3 * 5 * 3 * (4 + 4 + 1)


PROCESS = """
import asyncio, sys, threading
import trio
from trouper import actor, child, current, run

def ends():
    {ends}

async def ends_async():
    return ends()

@actor(flavour="{lane}")
class Adopts:
    def receive(self, message: int) -> None:
        current(self).daemon.adopt(ends if "{flavour}" == "threading" else ends_async, flavour="{flavour}", name="one")

adopts = child(Adopts)
adopts.ref.send(1)
run(adopts)
"""


@attrs.frozen
class Ending:
    """How a payload ends, and its process with it."""

    ends: str
    code: int
    said: str


@pytest.mark.parametrize(
    "ending",
    [
        Ending("raise OSError('no such device')", 70, "/adopted/one: OSError: no such device"),
        Ending("return 3", 70, "/adopted/one: __main__.ends"),
        Ending("raise KeyboardInterrupt", 70, "/adopted/one: KeyboardInterrupt"),
        Ending("raise SystemExit(3)", 3, "/adopted/one: SystemExit: 3"),
        Ending("raise SystemExit", 0, "/adopted/one: SystemExit"),
    ],
    ids=str,
)
@pytest.mark.parametrize(("flavour", "lane"), [("trio", "asyncio"), ("asyncio", "threading"), ("threading", "trio")])
def test_the_process_ends_with_the_code_of_what_a_payload_came_to(flavour: str, lane: str, ending: Ending) -> None:
    with run_code(PROCESS.format(flavour=flavour, lane=lane, ends=ending.ends)) as program:
        assert program.end() == ending.code
        [record] = program.records("a failure reached the root")
        assert ending.said in record
