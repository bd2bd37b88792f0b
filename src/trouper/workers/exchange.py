"""The way to actors of other processes: the wire, and who knows where an address leads.

In a daemon with workers, an address of the subtree means all of them: a `Copies`, which hands each message to the
worker whose turn it is. In a worker, it means the own copy, and every other address leads to the daemon, which hands
messages on.
"""

from __future__ import annotations

from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, cast

from trouper.actors.definition import definition_of
from trouper.actors.ref import NOTHING
from trouper.actors.router import Routes
from trouper.errors import UsageError
from trouper.workers.copies import Copies
from trouper.workers.link import Wire
from trouper.workers.peer import Office, Peer
from trouper.workers.waiting import Gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.ref import Ref
    from trouper.actors.world import World
    from trouper.mailbox.mailbox import Mailbox
    from trouper.workers.staff import Staff


class Exchange:
    """Who of the actors of other processes is where; one in each daemon that needs it."""

    def __init__(self) -> None:
        self.world: Any = None
        self.wire = Wire()
        self.wire.start()
        self.office = Office(self.local)
        self.copies: dict[str, Ref[Any]] = {}  # by their paths, which have a star

    def bind(self, world: World) -> None:
        """This is the world of the daemon, which may have come after the addresses in its tree."""
        self.world, world.exchange = world, self
        home = self.office.home
        if home is not None:
            home.world = world
            for cell in home.cells.values():
                cell.world = world
        self.world.daemon.loops.listen(partial(Gate, self.wire))

    def local(self, path: str) -> Ref[Any] | None:
        """Who stands there in this process; in the daemon also who stands in a worker, for those of the others."""
        daemon: Any = self.world.daemon
        try:
            return self.elsewhere(path) or daemon.ref_at(path)
        except UsageError:
            return None

    def elsewhere(self, path: str) -> Ref[Any] | None:
        """In the daemon: who stands there in a worker, or, with a star, in each of them, as far as is known."""
        peer = self.office.peer_of(path)
        cell = None if peer is None else peer.cells.get(path)
        return self.copies.get(path) if cell is None else cell.ref

    def peer(self, name: str, on_lost: Callable[[BaseException | None], object] = lambda _: None) -> Peer:
        """Make what another process is known by."""
        return Peer(name, self.world, self.wire, find=self.office.find, local=self.local, on_lost=on_lost)

    def outside(self, path: str, cls: type, mailbox: Mailbox) -> Ref[Any]:
        """In a worker: the address of an actor of the daemon, or of its other workers."""
        assert self.office.home is not None
        return self.office.home.ref(path, definition_of(cls), mailbox)

    def flush(self, seconds: float) -> None:
        """Wait until all has left for the daemon that was sent there, but not for ever."""
        home, deadline = self.office.home, monotonic() + seconds
        while home is not None and home.link is not None and monotonic() < deadline:
            home.link.flush()
            if not (home.waiting or home.link.frames or home.link.out):
                return
            sleep(0.001)

    def close(self) -> None:
        self.wire.close()


def exchange_of(world: World) -> Exchange:
    """Return that of a daemon, which is made when it is needed first."""
    if world.exchange is None:
        Exchange().bind(world)
    return cast("Exchange", world.exchange)


class Everywhere:
    """Where the copies of one actor stand, in the place of who runs a pool.

    Args:
        staff: whose workers they are in.
        path: with a star for the worker.
    """

    def __init__(self, staff: Staff, path: str) -> None:
        self.staff, self.path, self.world = staff, path, staff.world

    def keeps(self, _: object) -> bool:
        return not self.world.over and self.staff.boss.keeps(self.staff)


def make_copies(ref: Ref[Any], key: Callable[[Any], Any] | None, place: Everywhere) -> None:
    """Have an address lead to workers, who come later; what waits there goes along then."""
    ref.accepts = NOTHING
    routes = Routes((), key)
    routes.boss = place
    ref.cell = cast("Any", routes)
    ref.__class__ = Copies


def lead_to(ref: Ref[Any], workers: tuple[Ref[Any], ...]) -> None:
    """These are the copies now."""
    router = cast("Copies[Any]", ref)
    router.routes.workers = workers
    while workers and router.box:
        router.put(router.box.popleft())
