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
import subprocess
import sys
import threading
import time
from collections.abc import Callable
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
from trouper.events import (
    DaemonReady,
    DaemonReloaded,
    DaemonStopping,
    Escalated,
    Event,
    LaneStalled,
    SignalReceived,
)


def say(words: object) -> None:
    print(f"{words}\n", end="", flush=True)  # noqa: T201 - the test reads it; whole lines, from several threads


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
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
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
    await asyncio.get_running_loop().create_future()


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


# -- signals -----------------------------------------------------------------------------------------------------------


@actor(flavour="asyncio", shutdown=60.0)
class StopsAfterASignal:
    """Its stop takes until a signal comes."""

    async def on_start(self) -> None:
        self.signalled = asyncio.Event()
        loop = asyncio.get_running_loop()
        current(self).daemon.subscribe(lambda event: loop.call_soon_threadsafe(self.signalled.set), SignalReceived)

    async def receive(self, message: Never) -> None: ...

    async def on_stop(self, reason: Reason) -> None:
        asyncio.get_running_loop().call_soon(say, "stop waits")
        await self.signalled.wait()
        say("stop goes on")


@actor(flavour="asyncio", start_timeout=60.0)
class FailsAfterAWhile:
    async def on_start(self) -> None:
        say("about to fail")
        raise Stumble("at the first step")

    async def receive(self, message: Never) -> None: ...


class Reloading:
    def tell(self) -> None:
        say(f"{type(self).__name__} reloads in {threading.current_thread().name}")


@actor(flavour="trio")
class ReloadsInTrio(Reloading):
    async def receive(self, message: Never) -> None: ...

    async def on_reload(self) -> None:
        self.tell()


@actor(flavour="asyncio")
class ReloadsInAsyncio(Reloading):
    async def run(self) -> None:
        await wait_long()

    async def on_reload(self) -> None:
        self.tell()


@actor(flavour="threading")
class ReloadsInThread(Reloading):
    def run(self, inbox: SyncInbox[Beat]) -> None:
        inbox.get()

    def on_reload(self) -> None:
        self.tell()
        if current(self).generation == 1:
            raise Stumble("over the new settings")


@actor(flavour="trio")
class HearsSignals:
    """It hears of the signals, and of what a reload came to."""

    async def on_start(self) -> None:
        current(self).daemon.subscribe(self.hear, SignalReceived, DaemonReloaded, DaemonStopping)

    async def receive(self, message: Never) -> None: ...

    def hear(self, event: SignalReceived | DaemonReloaded | DaemonStopping) -> None:
        match event:
            case SignalReceived(name):
                say(f"heard {name}")
            case DaemonReloaded(_, failed):
                say(f"reloaded, but not {failed}")
            case DaemonStopping(why):
                say(f"stopping: {why}")


@actor(flavour="trio")
class WaitsInTrio:
    async def receive(self, message: Block | Beat) -> None:
        if isinstance(message, Block):
            say("blocks")
            block(message.how)
        trio.lowlevel.current_trio_token().run_sync_soon(say, "waits")  # once it does
        await wait_in_trio()


async def wait_in_trio() -> None:
    await trio.sleep_forever()


@actor(flavour="asyncio")
class Handles:
    async def receive(self, message: Beat) -> None:
        asyncio.get_running_loop().call_soon(say, "handles")  # once it waits
        await wait_long()


@actor(flavour="threading", shutdown=0.1)
class Sits:
    def receive(self, message: Beat) -> None:
        say("sits")
        hear_nothing()


@actor(flavour="asyncio")
class Busies:
    """All of them are at work, and when a signal comes one of them blocks its lane."""

    refs: tuple[Ref[Any], ...]
    blocker: Ref[Any]

    async def on_start(self) -> None:
        for count, ref in enumerate(self.refs):
            ref.send(Beat(count))
            ref.send(Beat(100))
        current(self).daemon.subscribe(lambda event: self.blocker.send(Block("sleep")), SignalReceived)

    async def receive(self, message: Never) -> None: ...


class Clumsy(logging.Handler):
    """A log that does something else over one record: its lock is held meanwhile."""

    def __init__(self, text: str, do: Callable[[], object]) -> None:
        super().__init__()
        self.text, self.do = text, do

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.text = "nothing any more"
            self.do()


def clumsy(text: str, do: Callable[[], object]) -> None:
    logging.getLogger("trouper").addHandler(Clumsy(text, do))


@actor(flavour="trio")
class LogHangs:
    """In the main thread, in the middle of a record."""

    async def on_start(self) -> None:
        clumsy("stopping", self.hang)

    async def receive(self, message: Never) -> None: ...

    def hang(self) -> None:
        say(f"hangs in {threading.current_thread().name}")
        hear_nothing()


@actor(flavour="trio")
class ListenerHangs:
    async def on_start(self) -> None:
        current(self).daemon.subscribe(self.hear, DaemonReady)

    async def receive(self, message: Never) -> None: ...

    def hear(self, event: DaemonReady) -> None:
        say(f"hangs in {threading.current_thread().name}")
        hear_nothing()


@actor(flavour="trio")
class SignalsInTheLog:
    """Signals come while the main thread writes a record."""

    async def on_start(self) -> None:
        clumsy("ready after", self.signal)

    async def receive(self, message: Never) -> None: ...

    def signal(self) -> None:
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
            signal.raise_signal(number)
        say("the record goes on")


gives_up = one_for_one(child(StopsAfterASignal), child(RaisesInTrio, Stumble), restarts=Limit(0, 30))
boot_gives_up = one_for_one(child(StopsAfterASignal), child(FailsAfterAWhile))
reloads = one_for_one(child(HearsSignals), child(ReloadsInTrio), child(ReloadsInAsyncio), child(ReloadsInThread))
hears_signals = one_for_one(child(HearsSignals))
blockers = child(WaitsInTrio).options(name="blocker")
waiting = (child(Handles).options(name="handles"), child(Sits), child(WaitsInTrio).options(name="waits"))
at_work = one_for_one(
    *waiting, blockers, child(Busies, tuple(one.ref for one in waiting), blockers.ref), name="at_work"
)
log_hangs = one_for_one(child(LogHangs))
listener_hangs = one_for_one(child(ListenerHangs))
signals_in_the_log = one_for_one(child(HearsSignals), child(SignalsInTheLog))
slow_to_start = one_for_one(child(Idle), child(SlowToStart))


# -- what blocks a whole lane ------------------------------------------------------------------------------------------


def block(how: str) -> None:
    if how == "sleep":
        threading.Event().wait()
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
        begun = time.monotonic()
        self.blocker.send(Block(self.how))
        for stall in inbox:
            say(f"told after {time.monotonic() - begun} s")
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
        time.sleep(1.5)  # longer than the watchdog's faulthandler would wait
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


# -- what logs ---------------------------------------------------------------------------------------------------------


@actor(flavour="threading")
class Logs:
    """It logs, leaves a child process behind and hangs the process at its exit."""

    def on_start(self) -> None:
        child_process = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S607 - the one on the path
        say(f"child {child_process.pid}")

    def receive(self, message: Never) -> None: ...

    def on_stop(self, reason: Reason) -> None:
        logging.getLogger("logs").info("the last %s", "\n".join(map(str, range(1000))))
        atexit.register(hear_nothing)


logs = one_for_one(child(Logs))


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
