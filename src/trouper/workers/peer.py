"""A peer: another process of the tree, as this one knows it.

Refs to the actors of a peer are made once and stay; links to it come and go, one for each life of the process. Both
ends are alike. What a frame means is said here; `ports` and `remote` have the two halves of a channel, `link` has the
bytes.
"""

from __future__ import annotations

import importlib
import logging
import sys
from itertools import count
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trouper.actors.definition import definition_of
from trouper.errors import (
    ActorRestarted,
    AskError,
    FrameError,
    LinkLost,
    ReplyTypeError,
    SchemaMismatch,
    SpecError,
    Words,
)
from trouper.events import Lost
from trouper.messages import reply_annotation
from trouper.reasons import SHUTDOWN, Reason, crashed
from trouper.workers.codec import ENCODER, MALFORMED, Reader, encoded, mailbox_types
from trouper.workers.frames import (
    ANSWER,
    ASK,
    CONTROL,
    ENDED,
    FAIL,
    OPEN,
    REFUSED,
    SEND,
    TAKEN,
    WATCH,
    check_depth,
    frame,
)
from trouper.workers.link import Link, control
from trouper.workers.ports import Port
from trouper.workers.remote import RemoteCell
from trouper.workers.schema import schema_of
from trouper.workers.told import Told, ToldReason, rebuild, rebuild_reason, tell, tell_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    from trouper.actors.ask import Ask
    from trouper.actors.definition import Definition
    from trouper.actors.ref import Ref
    from trouper.actors.watching import Watch
    from trouper.actors.world import World
    from trouper.mailbox.mailbox import Mailbox
    from trouper.workers.frames import Frame
    from trouper.workers.link import Wire
    from trouper.workers.remote import RemoteRef

log = logging.getLogger("trouper")

NO_BODY: Final = memoryview(b"")
NUMBERS: Final = 0xFFFF_FFFF
NAMES: Final = msgspec.msgpack.Decoder(list[str])
ERROR: Final = msgspec.msgpack.Decoder(Told)
REASON: Final = msgspec.msgpack.Decoder(ToldReason)


class Peer:
    """Another process.

    Args:
        name: what it is called in errors and events: the path of a worker, or what stands for the parent.
        world: of the actors of this process.
        wire: by which the links of this process are read.
        find: the ref of an actor by its path and the name of its class, for addresses that come in messages; of this
            process, or of another one. It raises `ValueError` if there is none.
        local: who stands at a path in this process; None if nobody does.
        on_control: called by who reads the wire with the name and the bytes of what `tell` sent at the other end.
        on_lost: called by who reads the wire when the link has ended, with the error behind it, if there is one.
    """

    def __init__(
        self,
        name: str,
        world: World,
        wire: Wire,
        *,
        find: Callable[[str, str], Ref[Any]],
        local: Callable[[str], Ref[Any] | None],
        on_control: Callable[[str, bytes], object] = lambda *_: None,
        on_lost: Callable[[BaseException | None], object] = lambda _: None,
    ) -> None:
        self.name = name
        self.world = world
        self.wire = wire
        self.find = find
        self.local = local
        self.on_control = on_control
        self.on_lost = on_lost
        self.cells: dict[str, RemoteCell] = {}
        self.binding = Lock()
        self.link: Link | None = None
        self.over = False
        self.held = False  # nothing goes out of the boxes here, though there is a link
        self.early: list[tuple[int, str]] | None = None  # watches of who is to be here once there is a tree
        self.decoders: dict[Definition, tuple[Reader, Reader]] = {}
        self.readers: dict[type, Reader] = {}
        self.begin()

    def begin(self) -> None:
        """What belongs to one link."""
        self.asks, self.opened, self.watched = count(1), count(1), count(1)
        self.channels: dict[int, RemoteCell] = {}
        self.pending: dict[int, tuple[Ask, RemoteCell]] = {}
        self.watches: dict[int, RemoteCell] = {}
        self.ports: dict[int, Port | BaseException] = {}
        self.watcher = Watcher(self)

    # -- for who keeps the processes ---------------------------------------------------------------------------------
    def ref(self, path: str, definition: Definition, mailbox: Mailbox | None = None) -> RemoteRef[Any]:
        """The ref of an actor there; always the same one for a path.

        Args:
            path: where it stands in the whole tree.
            definition: of its class.
            mailbox: its capacity and policy; None: those of its class.

        Raises:
            SpecError: what its mailbox takes cannot travel.
        """
        with self.binding:
            cell = self.cells.get(path)
            if cell is None:
                types = mailbox_types(definition, path)
                cell = RemoteCell(self, path, types, definition, mailbox or definition.options.mailbox)
                self.cells[path] = cell
                if self.over:
                    cell.close(SHUTDOWN)
                elif self.link is not None and not self.held:
                    cell.attach(self.link)
        return cell.ref

    def attach(self, sock: socket, *, held: bool = False) -> Link:
        """The process is there: use this socket, which is connected to it. What waits in boxes goes out.

        Args:
            sock: a stream.
            held: whether that waits for `release`.
        """
        link = Link(sock, self.wire, self.hear, self.lost)
        with self.binding:
            self.begin()
            self.link, self.held = link, held
            for cell in () if held else self.cells.values():
                cell.attach(link)
        for cell in list(self.cells.values()):
            if cell.ref in self.world.watching.watched:
                self.watch(cell)
        self.wire.attach(link)
        return link

    def wait_for_tree(self) -> None:
        """Nobody stands here yet who could be watched."""
        self.early = []

    def tree_is_there(self) -> None:
        """Begin to watch whom the other process wants to watch."""
        with self.wire.reading:
            early, self.early = self.early, None
            for number, path in early or ():
                self.begin_watch(number, path)

    def release(self) -> None:
        """What waits in boxes goes out from now on."""
        with self.binding:
            link, self.held = self.link, False
            for cell in () if link is None else self.cells.values():
                cell.attach(link)

    def hold(self) -> None:
        """Nothing more goes out; what is under way comes to its end."""
        with self.binding:
            self.held = True
            for cell in self.cells.values():
                cell.credit.window = 0

    @property
    def drained(self) -> bool:
        """Whether nothing is under way of what went out, and nobody waits for an answer."""
        link = self.link
        if link is None:
            return True
        with link.writing:  # nobody has a message in hand
            return not self.unacknowledged and not self.pending

    def take_over(self, other: Peer) -> None:
        """The actors that `other` led to live here from now on, and what waits for them goes out here."""
        with other.binding, self.binding:
            other.tell_lost(other.sent, other.unacknowledged)  # nothing, if it was drained
            cells, other.cells = other.cells, {}
            for cell in cells.values():
                cell.detach()
                cell.peer = self
            self.cells.update(cells)
        self.release()
        for cell in cells.values():
            if cell.ref in self.world.watching.watched:
                self.watch(cell)

    def tell(self, name: str, payload: bytes = b"") -> bool:
        """Have `on_control(name, payload)` called at the other end, in order. False: there is no link."""
        link = self.link
        if link is None:
            return False
        link.post(control(name, payload))
        link.flush()
        return True

    def close(self, reason: Reason = SHUTDOWN) -> None:
        """There will be no link any more: what waits, and what still comes, are dead letters."""
        with self.binding:
            self.over = True
            cells = list(self.cells.values())
        for cell in cells:
            cell.close(reason)
            self.world.watching.tell(cell.ref, reason)

    def reopen(self) -> None:
        """The process comes again, whose place was given up."""
        with self.binding:
            self.over = False
            for cell in self.cells.values():
                cell.reopen()

    @property
    def sent(self) -> int:
        """How many messages and requests were sent over this link."""
        return sum(cell.credit.sent for cell in list(self.cells.values()))

    @property
    def unacknowledged(self) -> int:
        """How many of them its actors have not taken, as far as is known."""
        return sum(cell.credit.unacknowledged for cell in list(self.cells.values()))

    @property
    def waiting(self) -> int:
        """How many wait in boxes of this process."""
        return sum(len(cell.ref.box) for cell in list(self.cells.values()) if cell.ref.box)

    # -- who writes to the link --------------------------------------------------------------------------------------
    def open(self, cell: RemoteCell) -> int:
        """A number for a new channel."""
        number = next(self.opened)
        self.channels[number] = cell
        return number

    def expect(self, ask: Ask, cell: RemoteCell) -> int:
        """A number for an ask."""
        number = next(self.asks) & NUMBERS
        self.pending[number] = ask, cell
        return number

    def watch(self, cell: RemoteCell) -> None:
        """Any thread: somebody here wants to hear of its end."""
        with self.binding:
            link = self.link
            if cell.watch or link is None:
                return
            cell.watch = next(self.watched)
            self.watches[cell.watch] = cell
        link.post(frame(WATCH, 0, cell.watch, ENCODER.encode([cell.path])))
        self.wire.wake(link)

    # -- who reads the wire ------------------------------------------------------------------------------------------
    def hear(self, one: Frame) -> None:
        """A frame came."""
        kind, channel, number, body = one
        HEARD[kind](self, channel, number, body)

    def on_open(self, channel: int, _number: int, body: memoryview) -> None:
        path, fingerprint, text = self.names(body, 3)
        if channel in self.ports:
            raise FrameError(0, f"a second OPEN of channel {channel}", "one")
        assert self.link is not None
        port = self.port_to(self.link, channel, path, fingerprint, text)
        self.ports[channel] = port
        if isinstance(port, BaseException):
            log.warning("%s: refused: %s", self.name, port)
            self.reply(frame(REFUSED, channel, 0, encoded(tell(port), path)))

    def port_to(self, link: Link, channel: int, path: str, fingerprint: str, text: str) -> Port | BaseException:
        """What a channel leads to, or why it leads nowhere."""
        ref = self.local(path)
        if ref is None or ref.cell is None:
            return LinkLost(path, "there is no such actor")
        definition = ref.definition
        try:
            types = mailbox_types(definition, path)
        except SpecError as error:
            return error
        if types.schema.fingerprint != fingerprint:
            return SchemaMismatch(path, f"{text} ({fingerprint})", str(types.schema))
        if definition not in self.decoders:
            self.decoders[definition] = types.readers(self.find, self.name)
        return Port(self, link, channel, ref, self.decoders[definition])

    def on_send(self, channel: int, number: int, body: memoryview) -> None:
        port = self.port(channel)
        if isinstance(port, Port):
            port.sent(number, body)
        else:
            self.world.dead(NOWHERE, Words(f"{number} messages"), f"from {self.name}: {port}")
            self.reply(frame(TAKEN, channel, number))

    def on_ask(self, channel: int, number: int, body: memoryview) -> None:
        port = self.port(channel)
        if isinstance(port, Port):
            port.asked(number, body)
        else:
            self.reply(frame(FAIL, channel, number, encoded(tell(port), self.name)))

    def on_answer(self, channel: int, number: int, body: memoryview) -> None:
        ask, cell = self.awaited(channel, number)
        cls = type(ask.request)
        try:
            value = self.reader(cls).decode(body)
        except msgspec.ValidationError as error:
            ask.fail(ReplyTypeError(ask.request, f"the reply is not of the type that was promised ({error})"))
            return
        if not ask.put(value):
            cell.late(ask, value)

    def on_fail(self, channel: int, number: int, body: memoryview) -> None:
        ask, _ = self.awaited(channel, number)
        error = rebuild(read(ERROR, body), self.name)
        if isinstance(error, AskError):
            error.message = ask.request
            error.args = (ask.request, error.detail)
        ask.fail(error)

    def on_taken(self, channel: int, number: int, _body: memoryview) -> None:
        cell = self.channels.get(channel)
        if cell is None or not cell.taken(number):
            under_way = 0 if cell is None else cell.credit.unacknowledged
            raise FrameError(0, f"TAKEN {number} of channel {channel}", f"at most the {under_way} that are under way")

    def on_refused(self, channel: int, _number: int, body: memoryview) -> None:
        cell = self.channels.get(channel)
        if cell is None:
            raise FrameError(0, f"REFUSED of channel {channel}", "one that was opened")
        cell.refusal = rebuild(read(ERROR, body), self.name)
        log.warning("%s: refused: %s", self.name, cell.refusal)

    def on_watch(self, _channel: int, number: int, body: memoryview) -> None:
        [path] = self.names(body, 1)
        if self.early is None:
            self.begin_watch(number, path)
        else:
            self.early.append((number, path))

    def begin_watch(self, number: int, path: str) -> None:
        ref = self.local(path)
        if ref is None or ref.cell is None:
            self.ended(number, Reason("shutdown", None, "there is no such actor"))
        else:
            self.watcher.numbers[ref] = number
            self.world.watching.watch(self.watcher.alive, ref)

    def on_ended(self, _channel: int, number: int, body: memoryview) -> None:
        cell = self.watches.pop(number, None)
        if cell is None:
            raise FrameError(0, f"ENDED of watch {number}", "one that was asked for")
        cell.watch = 0
        self.world.watching.tell(cell.ref, rebuild_reason(read(REASON, body), self.name))

    def on_told(self, length: int, _number: int, body: memoryview) -> None:
        try:
            name = str(body[:length], "ascii")
        except ValueError as error:
            raise FrameError(0, f"a name that is no text: {error}", "a name in ASCII") from error
        if length > len(body):
            raise FrameError(0, f"a name of {length} bytes in a CONTROL of {len(body)}", "no longer one")
        self.on_control(name, bytes(body[length:]))

    def port(self, channel: int) -> Port | BaseException:
        try:
            return self.ports[channel]
        except KeyError:
            raise FrameError(0, f"channel {channel}", "one that was opened") from None

    def awaited(self, channel: int, number: int) -> tuple[Ask, RemoteCell]:
        """The ask that this answers; with a channel, it says that the request was taken, too."""
        if channel:
            self.on_taken(channel, 1, NO_BODY)
        try:
            ask, cell = self.pending.pop(number)
        except KeyError:
            raise FrameError(0, f"an answer to ask {number}", "to one that has none") from None
        if ask.asker is not None:
            self.wire.addressee = ask.asker.ref.lane
        return ask, cell

    def reader(self, cls: type) -> Reader:
        reader = self.readers.get(cls)
        if reader is None:
            annotation = reply_annotation(cls)
            reader = Reader(annotation, self.find, self.name, deep=schema_of(annotation).deep)
            self.readers[cls] = reader
        return reader

    def names(self, body: memoryview, count: int) -> list[str]:
        names: list[str] = read(NAMES, body)
        if len(names) != count:
            raise FrameError(0, f"{len(names)} names", f"{count} of them")
        return names

    def reply(self, data: bytes) -> None:
        """Of who reads, and flushes when it has heard what there is."""
        assert self.link is not None
        self.link.post(data)

    def ended(self, number: int, reason: Reason) -> None:
        """Any thread: tell the other end that an actor that it watches has ended."""
        link = self.link
        if link is not None:
            link.post(frame(ENDED, 0, number, ENCODER.encode(tell_reason(reason))))
            self.wire.wake(link)

    def lost(self, link: Link, error: BaseException | None) -> None:
        """The link has ended: say what was lost, and fail who waits."""
        lost = LinkLost(self.name)
        lost.__cause__ = error
        with self.binding:
            self.link = None
            pending, watches = self.pending, self.watches
            sent, unacknowledged = self.sent, self.unacknowledged
            for cell in self.cells.values():
                cell.detach()
            watcher = self.watcher
            self.begin()
        self.world.watching.unwatch_all(watcher)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.tell_lost(sent, unacknowledged)
        for ask, _ in pending.values():
            refusal = ActorRestarted(ask.request, f"the process {self.name} ended before it had answered")
            refusal.__cause__ = lost
            ask.fail(refusal)
        for cell in watches.values():
            self.world.watching.tell(cell.ref, crashed(lost))
        self.on_lost(error)

    def tell_lost(self, sent: int, unacknowledged: int) -> None:
        """Say how many messages nobody can tell the fate of."""
        if unacknowledged:
            log.warning("%s: the process is gone, and %d of %d messages", self.name, unacknowledged, sent)
            if self.world.bus.active:
                self.world.bus.publish(Lost(self.name, sent, unacknowledged))


HEARD: Final[Mapping[int, Callable[[Peer, int, int, memoryview], None]]] = {
    OPEN: Peer.on_open,
    SEND: Peer.on_send,
    ASK: Peer.on_ask,
    ANSWER: Peer.on_answer,
    FAIL: Peer.on_fail,
    TAKEN: Peer.on_taken,
    REFUSED: Peer.on_refused,
    WATCH: Peer.on_watch,
    ENDED: Peer.on_ended,
    CONTROL: Peer.on_told,
}


class Watcher:
    """The actors of a peer that watch actors of this process, in the place of a cell that watches."""

    generation = 0

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.world = peer.world
        self.watches: dict[Ref[Any], Watch] | None = None
        self.numbers: dict[Ref[Any], int] = {}
        self.ref = self.lane = self

    def alive(self) -> Any:
        return self

    def do(self, order: Callable[[Watch], object], watch: Watch) -> None:
        order(watch)

    def press(self, watch: Watch) -> None:
        """In whatever thread the actor ended."""
        watch.take()
        self.peer.ended(self.numbers.pop(watch.ref), watch.message.reason)


class Office:
    """Which ref an address means in this process.

    Args:
        local: who stands at a path in this process; None if nobody does.
        home: the process that all others are reached by; None in that one.
    """

    def __init__(self, local: Callable[[str], Ref[Any] | None], home: Peer | None = None) -> None:
        self.local = local
        self.home = home
        self.peers: dict[str, Peer] = {}  # by the place of their tree in the whole tree

    def find(self, path: str, cls: str) -> Ref[Any]:
        """Return the ref of an actor, of this process or of another one.

        Raises:
            ValueError: there is nobody, as far as is known.
        """
        peer = self.peer_of(path)
        if peer is None and (ref := self.local(path)) is not None:
            return ref
        if peer is None and (peer := self.home) is None:
            raise ValueError(f"there is no actor at {path}")
        return peer.ref(path, definition_of(class_named(cls)))

    def peer_of(self, path: str) -> Peer | None:
        """Whose actor stands there."""
        while path:
            if (peer := self.peers.get(path)) is not None:
                return peer
            path = path.rpartition("/")[0]
        return None


def class_named(name: str) -> Any:
    """Return a class by its dotted name.

    Raises:
        ValueError: there is none.
    """
    module, _, rest = name.rpartition(".")
    names = [rest]
    while module:
        try:
            found: Any = sys.modules.get(MAIN.get(module, module)) or importlib.import_module(module)
            for part in names:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            module, _, rest = module.rpartition(".")
            names.insert(0, rest)
        else:
            return found
    raise ValueError(f"there is no class {name}")


MAIN: Final = {"__mp_main__": "__main__"}  # what multiprocessing calls the main module of the parent
NOWHERE: Final[Any] = SimpleNamespace(path="an unknown place", cell=None, definition=SimpleNamespace(flavour="none"))


def read(decoder: Any, body: memoryview) -> Any:
    """Decode what the runtime itself has sent.

    Raises:
        FrameError: it is not that.
    """
    check_depth(body)
    try:
        return decoder.decode(body)
    except MALFORMED as error:
        raise FrameError(0, f"a body that cannot be read: {error}", "what this kind of frame says") from error
