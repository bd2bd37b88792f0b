"""The address of a pool: a ref that hands each message to one of several actors.

It is the ref of the pool's template, which keeps its identity: whoever was given it before there was a pool sends to
the pool now. It has no mailbox of its own, and takes no type of message into the set that `Ref.send` looks at; so every
message comes to `admits`, and every envelope to `put`, also by a method that was bound before.

Choosing and delivering are two steps, and a worker may be stopped for good in between. It then gives what it finds in
its box back (`Crew.take_over`), so nothing is lost on the way.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

from trouper.actors.ask import Ask
from trouper.actors.ref import NOTHING, Ref
from trouper.errors import ActorStopped, MessageTypeError, SelfAsk, UsageError, show, type_name
from trouper.lanes.whose import handling
from trouper.messages import Request, reply_types

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trouper.lanes.slot import Slot

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

WORD = (1 << 64) - 1


@final
class Routes:
    """What a router knows; it stands where a ref has its cell.

    Args:
        workers: the refs of the workers, in the order of their numbers.
        key: what belongs together, by message; None for a round robin.
    """

    __slots__ = ("boss", "key", "turns", "workers")

    def __init__(self, workers: tuple[Ref[Any], ...], key: Callable[[Any], Hashable] | None) -> None:
        self.workers = workers
        self.key = key
        self.turns = count()  # `next` of it is one operation: no two threads have the same turn
        self.boss: Any = None  # who runs the pool

    @property
    def path(self) -> str | None:
        return None if self.boss is None else self.boss.path

    def pick(self, message: object, asker: object = None) -> Ref[Any] | None:
        """The worker that gets this message; None if all are stopped.

        Args:
            message: what the key is of.
            asker: the cell of a worker that asks its own pool; another one has the turn, if there is one.
        """
        return self.in_turn(asker) if self.key is None else self.by_key(self.key(message))

    def in_turn(self, asker: object) -> Ref[Any] | None:
        """Whose turn it is. To pass one over uses up its turn, so that its successor gets no more than the others."""
        workers = self.workers
        for _ in workers:
            worker = workers[next(self.turns) % len(workers)]
            if takes_messages(worker) and (asker is None or worker.cell is not asker):
                return worker
        return self.any_of(workers)

    def by_key(self, key: Hashable) -> Ref[Any] | None:
        """Who has this key: the first that is not stopped in a row that is different for each key."""
        workers = self.workers
        for attempt in range(len(workers)):
            try:
                lot = hash((key, attempt))
            except TypeError as error:
                given = f"{self.path or 'a pool'}: given the key {show(key)} of a message"
                raise UsageError(f"{given}, allowed: something hashable") from error
            worker = workers[jump(lot & WORD, len(workers))]
            if takes_messages(worker):
                return worker
        return self.any_of(workers)

    def any_of(self, workers: tuple[Ref[Any], ...]) -> Ref[Any] | None:
        """The tries need not have come to all of them."""
        return next(filter(takes_messages, workers), None)


def takes_messages(worker: Ref[Any]) -> bool:
    """Whether it is not stopped for good, nor on its way there while it drains."""
    return worker.cell is None or not worker.cell.refuses


def jump(key: int, size: int) -> int:
    """Lamping and Veach's jump consistent hash: when there are more or fewer at the end, few keys move.

    Args:
        key: 64 bits.
        size: of how many; 1 or more.

    Returns:
        One of `range(size)`.
    """
    found, following = 0, 0
    while following < size:
        found = following
        key = (key * 2862933555777941757 + 1) & WORD
        following = int((found + 1) * (1 << 31) / ((key >> 33) + 1))
    return found


class Router(Ref[M_contra], Generic[M_contra]):
    """The address of a pool: everything that a `Ref` is, for whichever worker has its turn.

    `pool(...).ref` is one. The worker is chosen for each message, in the sender's thread; one that is down, to be
    restarted, keeps its mailbox and its turns, and one that is stopped for good is passed over. Without any, a message
    is a dead letter, and an ask fails with `ActorStopped`.
    """

    __slots__ = ()

    def worker(self, number: int) -> Ref[M_contra]:
        """One of the workers, by its number.

        Args:
            number: 1 for the first, as in the names of the workers.

        Returns:
            Its own address. It stays valid until the pool is made smaller than its number.

        Raises:
            UsageError: there is no such worker.
        """
        workers = self.routes.workers
        if not isinstance(number, int) or not 1 <= number <= len(workers):
            allowed = f"a number from 1 to {len(workers)}" if workers else "none, for it has no worker"
            raise UsageError(f"{self!r}: given worker {number!r}, allowed: {allowed}")
        return workers[number - 1]

    @property
    def size(self) -> int:
        """How many workers the pool has."""
        return len(self.routes.workers)

    def __repr__(self) -> str:
        where = self.path or "not in a running tree"
        return f"<Router {type_name(self.definition.cls)}: {where}, size {self.size}>"

    # -- inside ------------------------------------------------------------------------------------------------------
    @property
    def routes(self) -> Routes:
        """What it routes by."""
        return cast("Routes", self.cell)

    def admits(self, message: object, item: object) -> bool:
        """Every message comes this way; none goes into a box of the router's own."""
        self.check(message)
        self.put(item)
        return False

    def envelope(self, message: Any) -> Ask:
        """Check a request, and put it into its envelope; `put` says who gets it."""
        if not isinstance(message, Request):
            raise MessageTypeError(message, self, (Request,))
        self.check(message)
        reply_types(type(message))
        return Ask(message, handling.get(None))

    def put(self, item: object) -> None:
        """Hand it to a worker, or say that there is none."""
        if not self.forward(item):
            self.undeliverable(item)

    def queue_up(self, message: object) -> Slot[None] | None:
        """Put it into the mailbox of a worker, or line up for room there."""
        self.check(message)
        worker = self.routes.pick(message)
        if worker is not None:
            return worker.let_in(message)
        self.undeliverable(message)
        return None

    def check(self, message: object) -> None:
        """Refuse what the workers do not take, before anybody looks for its key."""
        if type(message) not in self.definition.exact_types():
            types = self.definition.accepted()
            if types is not None and not isinstance(message, types):
                raise MessageTypeError(message, self, types)

    def forward(self, item: object) -> bool:
        """Put a message, or an ask, into the box of a worker; False if there is none."""
        asks = isinstance(item, Ask)
        asker = handling.get(None) if asks else None
        worker = self.routes.pick(item.request if isinstance(item, Ask) else item, asker)
        if worker is None:
            return False
        if asks and worker.cell is asker is not None:
            raise SelfAsk(f"{self!r}: a worker asks its own pool, and the request is its own to answer; use `send`")
        worker.put(item)
        return True

    def undeliverable(self, item: object) -> None:
        """There is no worker for it."""
        boss = self.routes.boss
        if boss is not None:
            boss.world.dead(self, item, "the pool has no worker")
        else:
            logging.getLogger("trouper").warning("%r: dead letter: it has no worker: %s", self, show(item))
        if isinstance(item, Ask):
            item.fail(ActorStopped(item.request, f"{self!r} has no worker"))


def make_router(ref: Ref[M], workers: tuple[Ref[M], ...], key: Callable[[M], Hashable] | None) -> Router[M]:
    """Have a ref that nothing runs behind, and whoever was given it, route from now on; what waits in it goes along."""
    waiting = list(ref.box) if ref.box else []
    ref.accepts = NOTHING
    ref.cell = cast("Any", Routes(workers, key))
    ref.__class__ = Router
    router = cast("Router[M]", ref)
    for item in waiting:
        router.put(item)
    return router
