"""The trees that the tests run in processes of their own: `trouper run tests.daemon.trees:name`, or as a script.

As a script: `python -m tests.daemon.trees name stop_within=0.5 stall_after=0.5`.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import logging.handlers
import signal
import socketserver
import sys
import threading
import time
from functools import partial
from typing import Any, Never

import trio

from trouper import (
    Child,
    Limit,
    Message,
    Reason,
    Ref,
    Request,
    Supervisor,
    SyncInbox,
    actor,
    child,
    current,
    one_for_one,
    run,
)
from trouper.events import DaemonReady, DaemonStopping, Escalated, Event, LaneStalled


def say(words: object) -> None:
    print(words, flush=True)  # noqa: T201 - the test reads it


class Block(Message):
    how: str


class Beat(Message):
    count: int


class Unanswered(Request[int]): ...


class Stumble(Exception): ...


# -- quiet ones --------------------------------------------------------------------------------------------------------


@actor(flavour="asyncio")
class Idle:
    async def on_start(self) -> None:
        say("idle is up")

    async def receive(self, message: Never) -> None: ...

    async def on_stop(self, reason: Reason) -> None:
        say(f"idle stops: {reason}")


@actor(flavour="trio")
class SignalsFirst:
    """It looks who handles signals when the first actor starts."""

    async def on_start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            defaults = signal.SIG_DFL, signal.default_int_handler
            say(f"{number.name} {'is not' if signal.getsignal(number) in defaults else 'is'} handled")

    async def receive(self, message: Never) -> None: ...


@actor(flavour="asyncio", restart="transient", significant=True)
class Once:
    async def run(self) -> None:
        say("once")


idle = one_for_one(child(SignalsFirst), child(Idle))
once = one_for_one(child(Idle), child(Once), auto_shutdown="any_significant")


# -- failing ones ------------------------------------------------------------------------------------------------------


@actor(flavour="trio")
class Stumbler:
    async def run(self) -> None:
        raise Stumble("over its own feet")


def raised(kind: type[BaseException], *args: object) -> BaseException:
    return kind(*args)


@actor(flavour="trio")
class RaisesInTrio:
    kind: type[BaseException]
    args: tuple[object, ...] = ()

    async def run(self) -> None:
        raise raised(self.kind, *self.args)


@actor(flavour="trio")
class RaisesInNursery(RaisesInTrio):
    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fail)
            await trio.sleep_forever()

    async def fail(self) -> None:
        raise raised(self.kind, *self.args)


@actor(flavour="asyncio")
class RaisesInAsyncio:
    kind: type[BaseException]
    args: tuple[object, ...] = ()

    async def run(self) -> None:
        raise raised(self.kind, *self.args)


@actor(flavour="threading")
class RaisesInThread:
    kind: type[BaseException]
    args: tuple[object, ...] = ()

    def run(self) -> None:
        raise raised(self.kind, *self.args)


@actor(flavour="asyncio")
class FailsToStart:
    async def on_start(self) -> None:
        raise Stumble("at the first step")

    async def receive(self, message: Never) -> None: ...


stumbling = one_for_one(
    child(Idle), one_for_one(child(Stumbler), name="steps", restarts=Limit(1, 30)), restarts=Limit(0, 30)
)
trio_exits = one_for_one(child(RaisesInTrio, SystemExit, (3,)))
nursery_exits = one_for_one(child(RaisesInNursery, SystemExit, (3,)))
asyncio_exits = one_for_one(child(RaisesInAsyncio, SystemExit, (3,)))
thread_exits = one_for_one(child(RaisesInThread, SystemExit, (3,)))
trio_interrupted = one_for_one(child(RaisesInTrio, KeyboardInterrupt))
asyncio_interrupted = one_for_one(child(RaisesInAsyncio, KeyboardInterrupt))
thread_interrupted = one_for_one(child(RaisesInThread, KeyboardInterrupt))
not_starting = one_for_one(child(Idle), child(FailsToStart))


# -- what blocks -------------------------------------------------------------------------------------------------------


class Hook:
    """`finally` and `on_stop` say that they ran."""

    def on_stop(self, reason: Reason) -> None:
        say(f"on_stop: {reason}")


class AsyncHook:
    async def on_stop(self, reason: Reason) -> None:
        say(f"on_stop: {reason}")


@actor(flavour="threading")
class ServesTcp(Hook):
    def on_start(self) -> None:
        self.server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def run(self) -> None:
        say("blocks")
        try:
            self.server.serve_forever(poll_interval=0.02)
        finally:
            self.server.server_close()
            say("finally")

    def interrupt(self) -> None:
        self.server.shutdown()


@actor(flavour="threading")
class WaitsInInbox(Hook):
    def run(self, inbox: SyncInbox[Beat]) -> None:
        say("blocks")
        try:
            inbox.get()
        finally:
            say("finally")


@actor(flavour="asyncio", shutdown=0)
class Silent:
    async def receive(self, message: Unanswered) -> int:
        say("blocks")
        await asyncio.Event().wait()
        return 0


@actor(flavour="threading")
class WaitsInAsk(Hook):
    silent: Ref[Unanswered]

    def run(self) -> None:
        try:
            self.silent.ask_sync(Unanswered(), timeout=None)
        finally:
            say("finally")


@actor(flavour="trio")
class ServesInTrio(AsyncHook):
    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(trio.serve_tcp, trio.aclose_forcefully, 0, host="127.0.0.1"))
                say("blocks")
        finally:
            say("finally")


@actor(flavour="asyncio")
class ServesInAsyncio(AsyncHook):
    async def run(self) -> None:
        try:
            async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
                say("blocks")
                await server.serve_forever()
        finally:
            say("finally")


@actor(flavour="threading", shutdown=0.1)
class Deaf:
    """It has no `interrupt`."""

    def run(self) -> None:
        say("blocks")
        hear_nothing()


def hear_nothing() -> None:
    threading.Event().wait()


@actor(flavour="asyncio", shutdown=60.0)
class SlowToStop:
    async def receive(self, message: Never) -> None: ...

    async def on_stop(self, reason: Reason) -> None:
        asyncio.get_running_loop().call_soon(say, "stop hangs")  # once it does
        await wait_long()


async def wait_long() -> None:
    await asyncio.sleep(1000)


@actor(flavour="asyncio", start_timeout=60.0)
class SlowToStart:
    async def on_start(self) -> None:
        say("start hangs")
        await wait_long()

    async def receive(self, message: Never) -> None: ...


serves_tcp = one_for_one(child(ServesTcp))
waits_in_inbox = one_for_one(child(WaitsInInbox))
waits_in_ask = one_for_one(silent := child(Silent), child(WaitsInAsk, silent.ref))
serves_in_trio = one_for_one(child(ServesInTrio))
serves_in_asyncio = one_for_one(child(ServesInAsyncio))
deaf = one_for_one(child(Idle), child(Deaf))
slow_to_stop = one_for_one(child(SlowToStop), child(Idle))
slow_to_start = one_for_one(child(Idle), child(SlowToStart))


# -- what blocks a whole lane ------------------------------------------------------------------------------------------


def block(how: str) -> None:
    if how == "sleep":
        time.sleep(30)
    elif how == "spin":
        while True:
            pass
    else:
        sum(range(10**10))  # in C, and the GIL is held


@actor(flavour="asyncio", shutdown=0.1)
class BlocksAsyncio:
    async def receive(self, message: Block) -> None:
        block(message.how)


@actor(flavour="trio", shutdown=0.1)
class BlocksTrio:
    async def receive(self, message: Block) -> None:
        await trio.lowlevel.checkpoint()  # it has a task of its own now
        block(message.how)


@actor(flavour="asyncio")
class BeatsInAsyncio:
    async def receive(self, message: Beat) -> None:
        beat(message, current(self).generation)


@actor(flavour="trio")
class BeatsInTrio:
    async def receive(self, message: Beat) -> None:
        beat(message, current(self).generation)


def beat(message: Beat, generation: int) -> None:
    if message.count == 1:
        raise Stumble("over the first beat")
    say(f"beat {message.count} in generation {generation}")


@actor(flavour="threading")
class Witness:
    """Once it hears of the stall it makes others crash and go on."""

    blocker: Ref[Block]
    beats: Ref[Beat]
    how: str

    def run(self, inbox: SyncInbox[LaneStalled]) -> None:
        current(self).daemon.subscribe(current(self).self_ref.send, LaneStalled)
        self.blocker.send(Block(self.how))
        for stall in inbox:
            say(f"{stall.lane} stalls in {stall.path} over {stall.message}")
            self.beats.send(Beat(1))
            self.beats.send(Beat(2))


def blocked(blocker: Child[Block], beats: Child[Beat], how: str) -> Supervisor:
    return one_for_one(
        blocker.options(name="blocker"),
        beats.options(name="beats"),
        child(Witness, blocker.ref, beats.ref, how),
    )


asyncio_sleeps = blocked(child(BlocksAsyncio), child(BeatsInTrio), "sleep")
trio_sleeps = blocked(child(BlocksTrio), child(BeatsInAsyncio), "sleep")
asyncio_spins = blocked(child(BlocksAsyncio), child(BeatsInTrio), "spin")
trio_spins = blocked(child(BlocksTrio), child(BeatsInAsyncio), "spin")
gil_is_held = blocked(child(BlocksAsyncio), child(BeatsInTrio), "C")


# -- what lingers ------------------------------------------------------------------------------------------------------


@actor(flavour="asyncio")
class Lingers:
    """Nothing that it leaves behind may keep the process, or be lost."""

    async def run(self) -> None:
        threading.Thread(target=time.sleep, args=(1000,)).start()
        records = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler())
        logging.getLogger("lingers").addHandler(records)
        atexit.register(self.last)
        logging.getLogger("lingers").error("a record that was kept back")
        say("lingers")
        await asyncio.to_thread(time.sleep, 1000)

    def last(self) -> None:
        time.sleep(0.6)  # longer than the watchdog's faulthandler would wait
        sys.stdout.write("stdout at exit\n")
        sys.stderr.write("stderr at exit\n")


@actor(flavour="asyncio")
class HangsAtExit:
    async def run(self) -> None:
        atexit.register(self.last)
        say("up")
        await wait_long()

    def last(self) -> None:
        say("last words")
        hear_nothing()


lingers = one_for_one(child(Lingers))
hangs_at_exit = one_for_one(child(HangsAtExit))


# -- what can be heard -------------------------------------------------------------------------------------------------


@actor(flavour="asyncio")
class Listener:
    async def on_start(self) -> None:
        current(self).daemon.subscribe(self.hear, DaemonReady, DaemonStopping, Escalated)

    async def receive(self, message: Never) -> None: ...

    def hear(self, event: Event) -> None:
        say(f"heard {type(event).__name__}")
        if isinstance(event, Escalated):
            say(f"from {event.path}: {type(event.cause).__name__}")


listening = one_for_one(child(Listener), child(RaisesInThread, Stumble), restarts=Limit(1, 30))


def main(name: str, *options: str) -> None:
    seconds: dict[str, Any] = {key: float(value) for key, _, value in (option.partition("=") for option in options)}
    run(globals()[name], **seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
