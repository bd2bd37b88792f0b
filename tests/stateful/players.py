"""The players: actors of all flavours who do what a plan says, and tell the ledger."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import attrs
import trio

from tests.actors.stage import Boom, role
from tests.stateful.ledger import Ledger, Question, Word
from tests.stateful.plans import Crowd, Deed, Group, Leaf, Plan
from trouper import (
    Child,
    Context,
    Declined,
    Inbox,
    NotRunning,
    Reason,
    Ref,
    Terminated,
    UsageError,
    child,
    current,
    pool,
)
from trouper.lanes.slot import Slot, in_asyncio, in_event_loop
from trouper.supervision.spec import Supervisor
from trouper.testing.script import Hang, Sleep, come_to, endure

NAP, ENDURED = 1.5, 0.3  # seconds; what nobody can cut short is so short that nobody is unkillable


@attrs.define(eq=False)
class Part:
    """One place of the tree and what its lives come to."""

    stage: Stage
    leaf: Leaf
    starts: list[Deed]
    stops: list[Deed]


class Stage:
    """Makes trees out of plans, and knows all that there was."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.refs: list[Ref[Any]] = []
        """Of all actors and pools that there were, in the order in which they came."""
        self.spawned = 0

    def whom(self, index: int) -> Ref[Any]:
        return self.refs[index % len(self.refs)]

    def plant(self, plan: Plan, name: str | None) -> Any:
        """What a plan says."""
        match plan:
            case Leaf():
                made = self.child(plan)
                self.refs.append(made.ref)
                return made.options(name=name, **plan.options)
            case Crowd(template, size, limit, hashed):
                routing: Any = {"routing": "hash", "key": lambda letter: letter.id % 3} if hashed else {}
                crowd = pool(self.child(template).options(**template.options), size=size, restarts=limit, **routing)
                self.refs.append(crowd.ref)
                return crowd.options(name=name, **plan.options)
            case Group(strategy, children, limit, auto_shutdown):
                below = [self.plant(each, str(n)) for n, each in enumerate(children)]
                return Supervisor(strategy, tuple(below), limit, auto_shutdown).options(name=name, **plan.options)

    def child(self, leaf: Leaf) -> Child[Any]:
        return child(kind(leaf), Part(self, leaf, list(leaf.starts), list(leaf.stops)))

    def spawn(self, me: Any, leaf: Leaf) -> None:
        self.spawned += 1
        with suppress(NotRunning):  # it is being stopped
            me.children.append(current(me).spawn(self.plant(leaf, f"s{self.spawned}")))


# -- what they do ------------------------------------------------------------------------------------------------------
async def begin_life(me: Any) -> None:
    part, context = me.part, current(me)
    ledger, path, generation = part.stage.ledger, context.path, context.generation
    deed = part.starts.pop(0) if part.starts else "fine"
    ledger.starting(context)
    try:
        await do(me, deed)
    except BaseException:
        ledger.over(path, generation)
        raise
    ledger.up(context)
    if deed != "mute":
        context.ready()


async def end_life(me: Any) -> None:
    part, context = me.part, current(me)
    path, generation = context.path, context.generation
    part.stage.ledger.stopping(context)
    try:
        await do(me, part.stops.pop(0) if part.stops else "fine")
    finally:
        part.stage.ledger.over(path, generation)


async def handle(me: Any, letter: Word | Question | Terminated, *, returns: bool) -> int | None:
    """Do what it says. The answer, if one is due, and is to be given by returning."""
    ledger, context = me.part.stage.ledger, current(me)
    if isinstance(letter, Terminated):
        ledger.hear(context, letter.ref)
        return None
    if letter.deed == "stash" and letter.id not in ledger.stashed:
        ledger.stashed.add(letter.id)
        ledger.own.pop(letter.id, None)  # what a timer brought is a message like any other from now on
        context.stash(letter)
        return None
    ledger.begin(context, letter)
    context.ready()
    answer = None
    if isinstance(letter, Question) and (letter.deed == "forget" or not returns):
        answer = context.reply_to(letter)
    try:
        await do(me, letter.deed)
    finally:
        ledger.handling.pop(context.path, None)
    ledger.end(context, letter)
    if letter.deed == "forget":
        return None
    if answer is not None:
        answer(letter.id)
    return letter.id if isinstance(letter, Question) and returns else None


async def do(me: Any, deed: Deed) -> None:
    context: Context[Any] = current(me)
    match deed:
        case "crash":
            raise Boom
        case "decline":
            raise Declined
        case "quit":
            context.stop()
        case "nap":
            await come_to(Sleep(NAP), me)
        case "hang":
            await come_to(Hang(), me)
        case "endure":
            await endure_a_nap()
        case "unstash":
            context.unstash()
        case _:
            await do_to_others(me, context, me.part.stage, deed)


async def do_to_others(me: Any, context: Context[Any], stage: Stage, deed: Deed) -> None:
    ledger = stage.ledger
    match deed:
        case "spawn", leaf:
            stage.spawn(me, leaf)
        case "stop", which if me.children:
            with suppress(UsageError):  # that one has ended for good
                context.stop(me.children[which % len(me.children)])
        case "tell", index, inner:
            ledger.tell(stage.whom(index), inner)
        case "ask", index, inner, timeout:
            await ledger.query(stage.whom(index), inner, timeout)
        case "later", seconds, inner:
            letter = ledger.letter(context.self_ref, Word, inner)
            ledger.own[letter.id] = context.generation
            context.after(seconds, letter)
        case "watch", index:
            ref = stage.whom(index)
            watch = context._cell, context.generation, ref
            known = watch in ledger.watches
            ledger.watches.add(watch)
            try:
                context.watch(ref)
            except UsageError:  # itself, or a pool
                ledger.watches.discard(watch)
                assert not known
        case _:
            pass


async def endure_a_nap() -> None:
    slot: Slot[None] = Slot()
    if not in_event_loop():
        slot.wait_sync(ENDURED)
    elif in_asyncio():
        asyncio.get_running_loop().call_later(ENDURED, slot.put, None)
        await endure(slot)
    else:
        with trio.CancelScope(shield=True):
            await trio.sleep(ENDURED)


# -- the classes -------------------------------------------------------------------------------------------------------
class Player:
    """What the actors of both styles have in common; `role` makes its methods plain in threading."""

    part: Part

    @property
    def script(self) -> Ledger:
        """Where `come_to` makes what hangs."""
        return self.part.stage.ledger


def player(flavour: Any, style: str) -> type[Any]:
    if style == "receive":

        @role(flavour)
        class Receives(Player):
            part: Part
            children: list[Any] = attrs.field(factory=list)

            async def on_start(self) -> None:
                await begin_life(self)

            async def receive(self, message: Word | Question | Terminated) -> int | None:
                return await handle(self, message, returns=True)

            async def on_stop(self, reason: Reason) -> None:
                await end_life(self)

        return Receives

    @role(flavour)
    class Runs(Player):
        part: Part
        children: list[Any] = attrs.field(factory=list)

        async def on_start(self) -> None:
            await begin_life(self)

        async def run(self, inbox: Inbox[Word | Question | Terminated]) -> None:
            async for message in inbox:
                await handle(self, message, returns=False)

        async def on_stop(self, reason: Reason) -> None:
            await end_life(self)

    return Runs


CLASSES = {
    (flavour, style): player(flavour, style)
    for flavour in ("trio", "asyncio", "threading")
    for style in ("receive", "run")
}


def kind(leaf: Leaf) -> type[Any]:
    return CLASSES[leaf.flavour, leaf.style]
