"""The players of these tests: actors whose every start is planned, and that end in the way they are told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tests.actors.stage import (
    FLAVOURS,
    Boom,
    Diary,
    Events,
    FlavourName,
    Gate,
    Host,
    ask,
    for_ever,
    role,
    turn,
)
from trouper import Child, Declined, Message, Request, Shutdown, child, current, one_for_all, one_for_one, rest_for_one
from trouper.events import ActorEnded, ActorStarted, Restarting

if TYPE_CHECKING:
    from trouper import Daemon

Act: TypeAlias = Literal["ok", "declines", "fails", "hangs"] | Gate | BaseException
How = Literal["normal", "shutdown", "crash"]

STRATEGIES = {"one_for_one": one_for_one, "one_for_all": one_for_all, "rest_for_one": rest_for_one}
TRIO = Host("trio")


class End(Message):
    """End in this way."""

    how: How = "crash"


class Who(Request[int]):
    """Which life is this?"""


def player(flavour: FlavourName, seen: Diary, name: str, *plan: Act, **options: Any) -> Child[Any]:
    """A child that notes its starts (`?` begun, `+` up) and stops (`-`) under its name.

    Its n-th life starts as the n-th act of the plan says, and well when the plan is over.
    """

    @role(flavour)
    class Player:
        async def on_start(self) -> None:
            life = current(self).generation
            act = plan[life - 1] if life <= len(plan) else "ok"
            await turn(self)
            if act != "ok":
                seen(f"?{name}")
                await play(self, act)
            seen(f"+{name}")

        async def receive(self, message: End | Who) -> Any:
            if isinstance(message, Who):
                return current(self).generation
            if message.how == "crash":
                raise Boom(name)
            if message.how == "shutdown":
                raise Shutdown(name)
            current(self).stop()
            return None

        async def on_stop(self, reason: Any) -> None:
            await turn(self)
            seen(f"-{name}")

    return child(Player).options(name=name, **options)


async def play(me: Any, act: Act) -> None:
    """A start that is not simply ok."""
    if isinstance(act, Gate):
        await act.passed()
    elif isinstance(act, BaseException):
        raise act
    elif act == "declines":
        raise Declined("not today")
    elif act == "fails":
        raise Boom("no start")
    else:
        await for_ever(me)


def mixed(seen: Diary, names: str, **options: Any) -> list[Child[Any]]:
    """Players of all flavours in turn, one for each letter."""
    return [player(FLAVOURS[n % 3], seen, name, **options) for n, name in enumerate(names)]


async def generation(one: Child[Any]) -> int:
    """Which life of it answers."""
    life: int = await ask(one.ref, Who())
    return life


async def states(daemon: Daemon, path: str = "/") -> dict[str, str]:
    """The children of a supervisor by name."""
    return dict(await daemon.children(path))


async def become(daemon: Daemon, wanted: dict[str, str], path: str = "/") -> None:
    """Ask until the children are in these states: what is in a diary is known to the supervisor a little later."""
    while await states(daemon, path) != wanted:
        pass


async def counted(daemon: Daemon, path: str = "/") -> tuple[int, int]:
    """OTP's `count_children`: how many specs, and how many of them run."""
    children = await daemon.children(path)
    return len(children), sum(state == "running" for _, state in children)


def watched(daemon: Daemon) -> Events:
    """Starts, ends and restarts from now on."""
    return Events(daemon, ActorStarted, ActorEnded, Restarting)
