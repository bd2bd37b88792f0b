"""What an operator can ask of a running tree: OTP's requests, by path, answered in OTP's words."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

import msgspec

from trouper.actors.hooks import hooked
from trouper.errors import TrouperError, UnknownPath, UsageError, WouldBlockLane
from trouper.lanes.slot import Slot, in_event_loop, when_done
from trouper.lanes.whose import handling
from trouper.supervision.crew import Crew
from trouper.supervision.node import Elsewhere
from trouper.supervision.place import check_reserved, default_name, place, steps_below
from trouper.supervision.pool import check_size
from trouper.supervision.snapshot import snapshot
from trouper.supervision.spawned import Spawned
from trouper.supervision.spec import Child, Supervisor
from trouper.supervision.supervisor import Branch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.daemon.annex import Annex
    from trouper.daemon.reload import Reloads
    from trouper.lanes.trio_lane import TrioLane
    from trouper.reasons import Reason
    from trouper.supervision.snapshot import Snapshot
    from trouper.workers.staff import Staff

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Operator:
    """The requests of a `Daemon`. They go into the control lane, where supervision is, and come back by a slot."""

    control: TrioLane
    root: Branch
    annex: Annex
    reloads: Reloads

    def __init__(self) -> None:
        self.tickets: WeakSet[Slot[Any]] = WeakSet()
        self.asking = Lock()  # over the tickets, which any thread may add to

    async def start(self, child: Child[Any] | Supervisor, *, under: str = "/") -> str:
        """Add a child to a running supervisor, as OTP's `start_child`; OTP's words come back.

        Args:
            child: the new child, the last in the order.
            under: the path of the supervisor.

        Returns:
            `ok`, `ok_undefined` (it declined to run), `already_started`, `already_present`, `nope` (its start failed),
            `bad_combination` (significance is not allowed there), `simple_one_for_one` (it is a pool, see
            `resize`) or `shutting_down`.

        Raises:
            SpecError: it is neither a child nor a supervisor, or its own tree is wrong.
            UnknownPath: there is no such supervisor.
            DuplicateChild: the child has a place in a running tree already.
        """
        return await answer(self._start(child, under))

    def start_sync(self, child: Child[Any] | Supervisor, *, under: str = "/") -> str:
        """Add a child to a running supervisor: the twin of `start` for threads; not for the thread of an event loop.

        Args:
            child: the new child, the last in the order.
            under: the path of the supervisor.

        Returns:
            One of the words of `start`.

        Raises:
            UnknownPath: there is no such supervisor.
        """
        return answer_sync(self._start, child, under)

    async def terminate(self, path: str) -> str:
        """Stop a child and leave it down, as OTP's `terminate_child`; a temporary one is forgotten.

        Args:
            path: the child, as `/readers/load`.

        Returns:
            `ok`, `not_found` or `shutting_down`.

        Raises:
            UnknownPath: what stands above it is no supervisor.
        """
        return await answer(self._request("terminate", path))

    def terminate_sync(self, path: str) -> str:
        """Stop a child and leave it down: the twin of `terminate` for threads; not for the thread of an event loop."""
        return answer_sync(self._request, "terminate", path)

    async def restart(self, path: str) -> str:
        """Start a child that is down, as OTP's `restart_child`; that does not count against the limit.

        Args:
            path: the child.

        Returns:
            `ok`, `ok_undefined` (it declined to run), `running`, `restarting`, `held`, `nope` (its start failed),
            `not_found`, `simple_one_for_one` (what a spawned child was is forgotten) or `shutting_down`.

        Raises:
            UnknownPath: what stands above it is no supervisor.
        """
        return await answer(self._request("restart", path))

    def restart_sync(self, path: str) -> str:
        """Start a child that is down: the twin of `restart` for threads; not for the thread of an event loop."""
        return answer_sync(self._request, "restart", path)

    async def delete(self, path: str) -> str:
        """Forget a child that is down, as OTP's `delete_child`.

        Args:
            path: the child.

        Returns:
            `ok`, `running`, `restarting`, `not_found`, `simple_one_for_one` or `shutting_down`.

        Raises:
            UnknownPath: what stands above it is no supervisor.
        """
        return await answer(self._request("delete", path))

    def delete_sync(self, path: str) -> str:
        """Forget a child that is down: the twin of `delete` for threads; not for the thread of an event loop."""
        return answer_sync(self._request, "delete", path)

    async def hold(self, path: str) -> str:
        """Stop a child and keep it down until `release`, also when its group, or its supervisor, is restarted.

        Args:
            path: the child, as `/readers/load`.

        Returns:
            `ok`, `not_found`, `simple_one_for_one` (not for spawned children and workers of pools) or `shutting_down`.

        Raises:
            UnknownPath: what stands above it is no supervisor.
        """
        return await answer(self._request("hold", path))

    def hold_sync(self, path: str) -> str:
        """Stop a child and keep it down: the twin of `hold` for threads; not for the thread of an event loop."""
        return answer_sync(self._request, "hold", path)

    async def release(self, path: str) -> str:
        """Start a child that is held.

        Args:
            path: the child.

        Returns:
            `ok`, `ok_undefined` (it declined to run), `nope` (its start failed; it is not held any more), `not_held`,
            `not_found`, `simple_one_for_one` or `shutting_down`.

        Raises:
            UnknownPath: what stands above it is no supervisor.
        """
        return await answer(self._request("release", path))

    def release_sync(self, path: str) -> str:
        """Start a child that is held: the twin of `release` for threads; not for the thread of an event loop."""
        return answer_sync(self._request, "release", path)

    async def resize(self, path: str, size: int) -> str:
        """Have a pool run so many workers from now on, also when its own supervisor restarts it.

        It grows by further workers, and by those that had ended for good; the answer comes when all of them are asked
        to start, and a start that fails is treated as every other end of a worker. It shrinks by the last ones: they
        get no more messages, and are stopped under their options. What they leave in their mailboxes goes to the
        others.

        Args:
            path: the pool.
            size: how many workers; 0 is allowed.

        Returns:
            `ok`, `not_a_pool` or `shutting_down`.

        Raises:
            SpecError: this cannot be a size.
            UnknownPath: there is no such supervisor.
        """
        return await answer(self._resize(path, size))

    def resize_sync(self, path: str, size: int) -> str:
        """Have a pool run so many workers: the twin of `resize` for threads; not for the thread of an event loop."""
        return answer_sync(self._resize, path, size)

    async def reload(self) -> tuple[str, ...]:
        """Have every actor reload that runs and has an `on_reload`, in start order, one after the other.

        It begins when the tree is ready. Requests that come while a reload is under way share the next one. A stop ends
        it. SIGHUP does the same under `run`.

        Returns:
            The paths of those that did not: their hook failed or took longer than their `reload_timeout`, which ended
            them; they were not free for it in that time; or a stop came first. `/` stands for the whole tree, if it
            was stopping or had ended already. Empty: all is well. Who ends meanwhile for another reason is not among
            them: its next life reads anew what there is.

        Raises:
            UsageError: called where it would wait for its own caller: in an `on_start`, in a handler of an actor that
                has an `on_reload` itself, or in an `on_reload`.
        """
        slot = self._reload()
        await slot.wait()
        return slot.take()

    def reload_sync(self) -> tuple[str, ...]:
        """Have every actor reload: the twin of `reload` for threads; not for the thread of an event loop."""
        return wait_sync(self._reload)

    async def scale(self, path: str, workers: int) -> str:
        """Have so many processes run from now on, also when their own supervisor restarts them.

        More of them are started; those that are too many, the last ones, are stopped under their `shutdown`. The answer
        comes when all of them are asked to.

        Args:
            path: a `process`.
            workers: how many; 0 is allowed.

        Returns:
            `ok`, `not_a_process` or `shutting_down`.

        Raises:
            SpecError: this cannot be a number of processes.
            UnknownPath: there is no such supervisor.
        """
        return await answer(self._scale(path, workers))

    def scale_sync(self, path: str, workers: int) -> str:
        """Have so many processes run: the twin of `scale` for threads; not for the thread of an event loop."""
        return answer_sync(lambda: self._scale(path, workers))

    async def restart_rolling(self, path: str) -> str:
        """Replace worker processes one after the other, each by one that is up before the other is told to stop.

        They come from a fresh forkserver, so that code that has changed on disk comes in. If one does not come up, the
        one that it was for goes on, and so do those after it.

        Args:
            path: a `process`.

        Returns:
            When it is through with all of them: `ok`, `nope` (one did not come up), `restarting` (another such request
            is under way), `not_a_process` or `shutting_down`.

        Raises:
            UnknownPath: there is no such supervisor.
        """
        return await answer(self._roll(path))

    def restart_rolling_sync(self, path: str) -> str:
        """Replace worker processes one after the other: the twin of `restart_rolling` for threads."""
        return answer_sync(lambda: self._roll(path))

    async def tree(self) -> Snapshot:
        """How the whole tree is at this moment; answered at once, whatever is under way in it.

        Returns:
            The root; `print` shows all of it.
        """
        slot = self._tree()
        await slot.wait()
        return slot.take()

    def tree_sync(self) -> Snapshot:
        """How the whole tree is at this moment: the twin of `tree` for threads."""
        return wait_sync(self._tree)

    async def children(self, path: str = "/") -> list[tuple[str, str]]:
        """Names and states of the children of a supervisor, as OTP's `which_children`, in start order.

        Args:
            path: the supervisor; `/` is the root.

        Returns:
            Pairs of a name and a state: `running`, `undefined` (down), `restarting`, `backoff` (it waits to be
            restarted), `held`, `starting` or `stopping`.

        Raises:
            UnknownPath: there is no such supervisor.
        """
        slot = self._view(path)
        await slot.wait()
        return slot.take()

    def children_sync(self, path: str = "/") -> list[tuple[str, str]]:
        """Names and states of the children of a supervisor: the twin of `children` for threads."""
        return wait_sync(self._view, path)

    # -- requests, into the control lane -----------------------------------------------------------------------------
    def _start(self, child: Child[Any] | Supervisor, under: str) -> Slot[tuple[str, Reason | None]]:
        check_new(child, under)

        def add(branch: Branch, slot: Slot[Any]) -> None:
            if isinstance(branch, Spawned):  # the actor's own, in whose lane it lives
                slot.fail(unknown(under))
            else:
                branch.start_child(child, slot)

        return self._at(under, add, self._ticket())

    def _request(self, verb: str, path: str) -> Slot[tuple[str, Reason | None]]:
        if not isinstance(path, str):
            raise UnknownPath(f"given the path {path!r}, allowed: the path of a child, as '/readers/load'")
        parent, _, name = path.rpartition("/")

        def ask(branch: Branch, slot: Slot[Any]) -> None:
            if not parent and branch.path != "/":  # the root of a worker: this is the name of somebody outside
                slot.fail(unknown(path))
            elif branch.lane is self.control:
                branch.request(verb, name, slot)
            else:
                branch.lane.post(branch.request, verb, name, slot)

        return self._at(parent or "/", ask, self._ticket(), ("request", verb, path))

    def _resize(self, path: str, size: int) -> Slot[tuple[str, Reason | None]]:
        check_size(path, size)

        def ask(branch: Branch, slot: Slot[Any]) -> None:
            if isinstance(branch, Crew):
                branch.resize(size, slot)
            else:
                slot.put(("not_a_pool", None))

        return self._at(path, ask, self._ticket(), ("resize", path, size))

    def _scale(self, path: str, workers: int) -> Slot[tuple[str, Reason | None]]:
        from trouper.workers.spec import check_workers  # noqa: PLC0415 - only who has processes

        check_workers(path, workers)
        return self._of_staff(path, lambda staff, slot: staff.resize(workers, slot))

    def _roll(self, path: str) -> Slot[tuple[str, Reason | None]]:
        return self._of_staff(path, lambda staff, slot: staff.roll(slot))

    def _of_staff(self, path: str, do: Callable[[Staff, Slot[Any]], object]) -> Slot[tuple[str, Reason | None]]:
        from trouper.workers.staff import Staff  # noqa: PLC0415 - the same

        def ask(branch: Branch, slot: Slot[Any]) -> None:
            if isinstance(branch, Staff):
                do(branch, slot)
            else:
                slot.put(("not_a_process", None))

        return self._at(path, ask, self._ticket())

    def _ticket(self) -> Slot[tuple[str, Reason | None]]:
        """Noted before it is posted: from then on the daemon may end at any time."""
        slot: Slot[tuple[str, Reason | None]] = Slot()
        with self.asking:
            self.tickets.add(slot)
        return slot

    def _view(self, path: str) -> Slot[list[tuple[str, str]]]:
        return self._at(path, lambda branch, slot: slot.put(branch.view()), Slot(), ("children", path))

    def _tree(self) -> Slot[Snapshot]:
        return self._at("/", lambda _, slot: slot.put(self._whole()), Slot())

    def _whole(self) -> Snapshot:
        """The tree, and what stands beside it."""
        tree = snapshot(self.root, self.root.world)
        beside = self.annex.snapshots()
        return msgspec.structs.replace(tree, children=(*tree.children, *beside)) if beside else tree

    def _reload(self) -> Slot[tuple[str, ...]]:
        caller, mail = handling.get(None), hooked.get()
        if mail is not None and not mail.outcome.done:
            caller = mail.cell
        elif caller is not None and not caller.waits_for_reload:
            caller = None
        if caller is not None:
            raise UsageError(
                f"{caller.path}: reload, which would wait for this very call to end; allowed: in `start_soon`, where no"
                f" handler waits, or SIGHUP"
            )
        return self._at("/", lambda _, slot: self.reloads.ask(slot), Slot())

    def _at(
        self, path: str, do: Callable[[Branch, Slot[T]], object], slot: Slot[T], question: tuple[Any, ...] = ()
    ) -> Slot[T]:
        """Have it done with the supervisor there; where that is in another process, its daemon is asked `question`."""
        if not isinstance(path, str):
            raise unknown(path)
        self.control.post(self._do_at, path, do, slot, question)
        self.settle_late()
        return slot

    def answer_the_rest(self) -> None:
        """At the end: who waits for an answer still gets it."""
        with self.asking:
            tickets = list(self.tickets)
        for slot in tickets:
            slot.put(("shutting_down", None))

    def settle_late(self) -> None:
        """After the end the caller's own thread sees to its request: nothing runs any more, and that is the answer."""
        orders = self.control.orders
        while self.control.over and orders:
            with suppress(IndexError):
                order, args = orders.popleft()
                if order == self._do_at:
                    order(*args)

    def _do_at(
        self, path: str, do: Callable[[Branch, Slot[Any]], object], slot: Slot[Any], question: tuple[Any, ...]
    ) -> None:
        node: Any = self.root
        names = list(filter(None, steps_below(self.root.path, path)))
        if names and names[0] in self.annex.wings:
            node = self.annex.wings[names.pop(0)]
        for name in names:
            if isinstance(node, Elsewhere):
                break
            branch = getattr(node, "spawner", node)  # of an actor: what it spawned
            node = branch.nodes.get(name) if isinstance(branch, Branch) else None
        node = getattr(node, "spawner", node)
        if isinstance(node, Branch):
            do(node, slot)
        elif isinstance(node, Elsewhere) and question:
            answer = node.ask(*question)
            when_done(answer, partial(hand_on, path, answer, slot))
        else:
            slot.fail(unknown(path))


def check_new(child: Child[Any] | Supervisor, under: str) -> None:
    """What is wrong with it is raised here, and not in the control lane."""
    if not isinstance(child, Child | Supervisor):
        place(child, under)
    if isinstance(under, str):
        name = (child.choice.name if isinstance(child, Child) else child.name) or default_name(child)
        above = under.rstrip("/")
        check_reserved(name, above or "/", child)
        if isinstance(child, Supervisor):
            place(child, f"{above}/{name}")


def hand_on(path: str, answer: Slot[Any], slot: Slot[Any]) -> None:
    """What the daemon of another process has answered: a word, or the children that it has there."""
    try:
        value = answer.take()
    except TrouperError as error:
        slot.fail(error)
    else:
        if value is None:  # it has ended
            slot.fail(unknown(path))
        else:
            slot.put((value, None) if isinstance(value, str) else value)


def unknown(path: object) -> UnknownPath:
    return UnknownPath(f"given the path {path!r}, allowed: one of a supervisor in the tree")


async def answer(slot: Slot[tuple[str, Reason | None]]) -> str:
    await slot.wait()
    return slot.take()[0]


def answer_sync(request: Callable[[Unpack[Ts]], Slot[tuple[str, Reason | None]]], *args: *Ts) -> str:
    return wait_sync(request, *args)[0]


def wait_sync(request: Callable[[Unpack[Ts]], Slot[T]], *args: *Ts) -> T:
    """Make a request, where its answer may be waited for, and block the thread until that is there."""
    if in_event_loop():
        raise WouldBlockLane("a *_sync call on the thread of an event loop, which it would stop; use its async twin")
    slot = request(*args)
    slot.wait_sync()
    return slot.take()
