"""A worker process: the daemon in it, which runs its part of the tree for the daemon that wants it.

It is told twice what it is. The *terms* are those of its whole group, and with them the daemon comes up, with its lanes
and without a tree. The *order* names its place and brings the tree, which begins then; a spare process waits for that.

It is run as `run` runs a daemon, and ends as that does, with these differences. SIGTERM is the word to stop; SIGINT and
SIGHUP are left to the parent. What it logs, what happens in it and why it fails is told to the parent, and its end is
the end of this process.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from math import isfinite
from queue import SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trouper.daemon.daemon import Daemon, placed_at
from trouper.daemon.exits import FAILED, OK, WRONG_TREE, end_process
from trouper.daemon.process import GC_THRESHOLD, SWITCH_INTERVAL, has_file
from trouper.daemon.report import report
from trouper.daemon.signals import Signals
from trouper.errors import TrouperError
from trouper.lanes.slot import Slot, when_done
from trouper.logs.whose import ActorFilter
from trouper.workers.cargo import unpack
from trouper.workers.channel import Channel
from trouper.workers.exchange import Exchange
from trouper.workers.forkserver import preload, retitle
from trouper.workers.main_module import import_main
from trouper.workers.portable import tell_event, tell_value
from trouper.workers.spec import refuse_nested
from trouper.workers.told import tell
from trouper.workers.waiting import WiredLane

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from trouper.events import Event as TrouperEvent
    from trouper.events import Subscription
    from trouper.reasons import Reason
    from trouper.supervision.place import Placed
    from trouper.supervision.snapshot import Snapshot
    from trouper.supervision.spec import Child, Supervisor

LOOK = 1.0  # seconds between two looks whether the parent lives, where nobody reads what it says
FLUSH = 2.0  # seconds for the last words to the parent
BESIDE = "/services/", "/adopted/"
HEARD_BY_THE_PARENT = signal.SIGINT, signal.SIGHUP
GRACE = 1.0  # seconds beyond `stop_within`, for a process whose parent is gone and that does not end


class Worker(Daemon):
    """The daemon of a worker process.

    Args:
        terms: what the parent said of its group.
        parent: the way to the parent.
        data: that of actors to those of other processes.
    """

    def __init__(self, terms: dict[str, Any], parent: Channel, data: socket.socket) -> None:
        self.terms, self.parent = terms, parent
        self.orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.number: int | None = None
        self.listening: Subscription | None = None
        self.audience = False  # in the daemon
        self.exchange = exchange = Exchange()
        self.home = home = exchange.office.home = exchange.peer("the daemon")
        super().__init__(
            stop_within=terms["stop_within"],
            stall_after=terms["stall_after"],
            uvloop=terms["uvloop"],
            thread_lane=partial(WiredLane, wire=exchange.wire),
        )
        exchange.bind(self.world)
        home.wait_for_tree()
        home.attach(data)
        self.ready.wake_by(self.tell_ready)

    @property
    def worker_id(self) -> int | None:
        return self.number

    def begin(self) -> None:
        """The lanes come up; the tree begins with the order."""
        if self.stop_why is None:
            Thread(target=self.obey, name="trouper unpacks", daemon=True).start()
            for flavour in self.terms["flavours"]:
                self.open_lane(flavour)

    def obey(self) -> None:
        """In a thread of its own, for it may take long: unpack what it is to run."""
        order = self.orders.get()
        try:
            retitle(f"trouper: worker {order['path']}")
            set_levels({**dict.fromkeys(self.terms["levels"], logging.NOTSET), **order["levels"]})
            placed = placed_at(order["path"], unpack(order["tree"], self.exchange.outside))
        except BaseException as error:  # noqa: BLE001 - whatever the user's classes do when they are made anew
            self.control.post(self.cannot_begin, error)
        else:
            self.control.post(self.begin_as, order, placed)

    def begin_as(self, order: dict[str, Any], placed: Placed) -> None:
        """In the control lane: there is something to run, unless a stop was asked for already."""
        if self.stop_why is None:
            self.number, self.generation, self.began = order["worker_id"], order["generation"], self.world.clock()
            self.plant(placed)
            self.home.tree_is_there()
            self.listen(wanted=self.audience)
            super().begin()

    def cannot_begin(self, error: BaseException) -> None:
        """In the control lane: what was to be run cannot be unpacked."""
        if self.stop_why is None:
            self.cause, self.code = error, WRONG_TREE
            self.leave()

    def _start(self, child: Child[Any] | Supervisor, under: str) -> Slot[tuple[str, Reason | None]]:
        refuse_nested(self.root.path, child)
        return super()._start(child, under)

    def tell_ready(self) -> None:
        if self.stop_why is None and self.cause is None:
            self.parent.send("ready", self.picture())

    def picture(self) -> Snapshot:
        """All that is here, as it is called there."""
        whole = self._whole()
        children = (moved(node, self.root.path) if f"{node.path}/" in BESIDE else node for node in whole.children)
        return msgspec.structs.replace(whole, children=tuple(children))

    # -- what the parent says, in the thread that reads --------------------------------------------------------------
    def hear(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("order", order):
                self.control.post(partial(self.listen, wanted=order["listening"]))
                self.orders.put(order)
            case ("ping",):
                self.control.post(self.answer_ping)
            case ("listening", wanted):
                self.control.post(partial(self.listen, wanted=wanted))
            case ("ask", number, what, args):
                self.control.post(self.asked, number, what, args)
            case _:
                raise AssertionError(message)

    def answer_ping(self) -> None:
        """In the control lane, so that an answer means that it turns."""
        self.parent.send_large("pong", self.picture())

    def asked(self, number: int, what: str, args: tuple[Any, ...]) -> None:
        """In the control lane: the parent asks what `ANSWERS` lists."""
        try:
            slot = ANSWERS[what](self, *args)
        except TrouperError as error:
            self.parent.send("refused", number, tell(error))
        else:
            when_done(slot, partial(self.control.post, self.answer, number, what, slot, Slot[None]()))

    def answer(self, number: int, what: str, slot: Slot[Any], first: Slot[None]) -> None:
        """In the control lane, at times twice: only the first counts."""
        if not first.claim():
            return
        try:
            value = slot.take()
        except TrouperError as error:
            self.parent.send("refused", number, tell(error))
        else:
            word = value[0] if what in REQUESTS else value  # and not why, which need not travel
            self.parent.send_large("answer", number, word, self.picture())

    def have_reloaded(self) -> Slot[tuple[str, ...]]:
        slot: Slot[tuple[str, ...]] = Slot()
        self.reloads.ask(slot)
        return slot

    def have_reported(self, why: str) -> Slot[None]:
        report(self, why)
        slot: Slot[None] = Slot()
        slot.put(None)
        return slot

    def listen(self, *, wanted: bool) -> None:
        """Tell the parent of events, if anybody listens there, and there is something to tell of."""
        self.audience = wanted
        if wanted and self.listening is None and self.number is not None:
            self.listening = self.subscribe(self.tell_event)
        elif not wanted and self.listening is not None:
            self.listening.close()
            self.listening = None

    def tell_event(self, event: TrouperEvent) -> None:
        """The root, what stands beside the tree, and a lane that nobody holds up have this worker's path there."""
        path = getattr(event, "path", "")
        if path is None or path == "/" or path.startswith(BESIDE):
            event = msgspec.structs.replace(event, path=self.root.path + (path or "").rstrip("/"))
        if path != "":
            self.parent.send("event", tell_event(event))

    def orphaned(self) -> None:
        """The parent is gone: stop, in good order if that can be."""
        self.control.post(self.begin_stop, "the parent has ended")
        sleep(self.stop_within + GRACE)
        os._exit(FAILED)

    # -- the end -----------------------------------------------------------------------------------------------------
    async def close_lanes(self) -> None:
        """The control lane does not unwind, for nothing of the user's runs in it: the end of the process is its end."""
        await super().close_lanes()
        self.control.end(self.control.token)
        self.conclude()
        self.leave()

    def close_exchange(self) -> None:
        """The last messages leave; the end of this process closes the way."""
        self.world.exchange.flush(FLUSH)

    def leave(self) -> NoReturn:
        """Tell why, and end the process."""
        if self.cause is not None:
            self.parent.send("failed", tell(self.cause))
        self.parent.flush(FLUSH)
        end_process(self.code)

    def leave_late(self) -> NoReturn:
        self.code = self.code or FAILED
        self.leave()


def moved(node: Snapshot, below: str) -> Snapshot:
    children = tuple(moved(child, below) for child in node.children)
    return msgspec.structs.replace(node, path=below + node.path, children=children)


REQUESTS: dict[str, Callable[..., Slot[Any]]] = {"request": Worker._request, "resize": Worker._resize}
ANSWERS: dict[str, Callable[..., Slot[Any]]] = {
    **REQUESTS,
    "children": Worker._view,
    "reload": Worker.have_reloaded,
    "report": Worker.have_reported,
}


class ToParent(logging.Handler):
    """Has the parent log what is logged here."""

    def __init__(self, parent: Channel) -> None:
        super().__init__()
        self.parent = parent
        self.addFilter(ActorFilter())  # here, where it is known whose code logs

    def emit(self, record: logging.LogRecord) -> None:
        values = {key: tell_value(value) for key, value in vars(record).items() if key not in {"args", "exc_info"}}
        try:
            values["msg"], values["message"] = record.getMessage(), None
            if record.exc_info:
                values["exc_text"] = logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - as every handler does: a bad record must not break its actor
            self.handleError(record)
        else:
            self.parent.send("log", values)

    def flush(self) -> None:
        self.parent.flush(FLUSH)


class Parent:
    """What is heard of the parent, in a thread of its own, before there is a daemon here and after.

    Args:
        channel: the way to it.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.daemon: Worker | None = None
        self.there = Event()
        channel.open(self.hear, self.gone)

    def is_for(self, daemon: Worker) -> None:
        """What it says is for this one."""
        self.daemon = daemon
        self.there.set()

    def hear(self, message: tuple[Any, ...]) -> None:
        while not self.there.wait(LOOK):  # modules are imported still, which may hang
            if self.channel.is_orphaned():
                os._exit(OK)
        assert self.daemon is not None
        self.daemon.hear(message)

    def gone(self) -> None:
        if self.daemon is None:
            os._exit(OK)
        self.daemon.orphaned()


def main(link: int, data: int, guard: int) -> NoReturn:
    """Be a worker, in a process of its own.

    Args:
        link: a socket to the parent, which says what to run.
        data: the socket by which actors of other processes are reached.
        guard: a pidfd of the parent.
    """
    settle()
    channel = Channel(socket.socket(fileno=link), "trouper parent", guard)
    message = channel.receive()
    if message is None:  # it has changed its mind, or is gone
        os._exit(OK)
    _, terms = message
    retitle(f"trouper: to be a worker of {terms['group']}")
    sys.argv[:] = terms["argv"]
    log_to(channel, terms["levels"])
    parent = Parent(channel)
    try:
        preload(terms["preload"], None)
        if terms["main"] is not None:
            import_main(*terms["main"])
        daemon = Worker(terms, channel, socket.socket(fileno=data))
    except BaseException as error:  # noqa: BLE001 - whatever the user's modules do when they are imported
        channel.send("failed", tell(error))
        channel.flush(FLUSH)
        end_process(WRONG_TREE)
    live(daemon, parent)


def live(daemon: Worker, parent: Parent) -> NoReturn:
    """Run it as `run` does, until its end."""
    tune()  # again, for modules of the user's were imported meanwhile
    daemon.on_deadline = daemon.leave_late
    stall_after = daemon.watchdog.stall_after
    if isfinite(stall_after) and has_file(sys.stderr):
        daemon.watchdog.each_round = partial(faulthandler.dump_traceback_later, 3 * stall_after)
    signals = Signals(daemon, HEARD_BY_THE_PARENT)

    def begun() -> None:
        signals.listen()
        parent.is_for(daemon)

    try:
        trio.run(daemon.main, begun)
    except BaseException as error:  # noqa: BLE001 - a bug of ours must not pass for a clean end
        daemon.cause, daemon.code = error, FAILED
    daemon.leave()


def settle() -> None:
    """Make of whatever we were started as a process of its own.

    A session of its own keeps the signals of the terminal away, and is what tells the processes that it leaves behind.
    """
    tune()
    with suppress(OSError):
        os.setsid()
    for number in HEARD_BY_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if "numpy.random" in sys.modules:  # which, unlike `random`, does not see to it itself
        sys.modules["numpy.random"].seed()


def tune() -> None:
    """As `run` does."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GC_THRESHOLD)


def log_to(channel: Channel, levels: dict[str, int]) -> None:
    """Have the parent log, in place of whoever did where this process came from."""
    logging.root.handlers[:] = [ToParent(channel)]
    set_levels(levels)


def set_levels(levels: dict[str, int]) -> None:
    """Say no more than the parent wants to hear."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
