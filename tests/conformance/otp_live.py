"""The stage of real actors: a scenario played by scripted actors of one flavour, in a real daemon.

Every child is a `Scripted` actor. What it does when it is started is in its script; it notes its starts, its deaths and
that it was stopped. To have two things in the supervisor's queue before it handles the first, the control lane is held
at a gate meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import trio

from tests.conformance.otp_replay import Operation, Scenario, Spec, Stage, Staged, Trace
from trouper import Child, Declined, Limit, Message, Reason, Ref, Shutdown, actor, child, current
from trouper.daemon.daemon import Daemon
from trouper.errors import StartFailed
from trouper.events import ActorEnded
from trouper.supervision.spec import Supervisor

Flavour = Literal["trio", "asyncio", "threading"]
PATIENCE = 20.0  # seconds until a play that hangs is given up
MOVING = {"starting", "stopping", "restarting"}


class Die(Message):
    """End, for this reason."""

    reason: str


class Script:
    """What one child does at its starts, and where it notes what happens."""

    def __init__(self, name: str, outcomes: Iterator[str], trace: Trace, alive: set[str]) -> None:
        self.name, self.outcomes, self.trace, self.alive = name, outcomes, trace, alive

    def starts(self) -> None:
        outcome = next(self.outcomes, "ok")
        self.trace.append(["start", self.name, outcome])
        if outcome == "ignore":
            raise Declined
        if outcome == "error":
            raise RuntimeError("nope")
        self.alive.add(self.name)

    def dies(self, reason: str, stop: Callable[[], None]) -> None:
        self.trace.append(["died", self.name, reason])
        self.alive.discard(self.name)
        if reason == "crash":
            raise RuntimeError("crash")
        if reason == "shutdown":
            raise Shutdown
        stop()

    def stops(self) -> None:
        if self.name in self.alive:
            self.alive.discard(self.name)
            self.trace.append(["stopped", self.name, "shutdown"])


@actor(flavour=trio)
class ScriptedTrio:
    script: Script

    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()
        self.script.starts()

    async def receive(self, message: Die) -> None:
        self.script.dies(message.reason, current(self).stop)

    async def on_stop(self, reason: Reason) -> None:
        await trio.lowlevel.checkpoint()
        self.script.stops()


@actor(flavour=asyncio)
class ScriptedAsyncio:
    script: Script

    async def on_start(self) -> None:
        await asyncio.sleep(0)
        self.script.starts()

    async def receive(self, message: Die) -> None:
        self.script.dies(message.reason, current(self).stop)

    async def on_stop(self, reason: Reason) -> None:
        await asyncio.sleep(0)
        self.script.stops()


@actor(flavour=threading)
class ScriptedThreading:
    script: Script

    def on_start(self) -> None:
        self.script.starts()

    def receive(self, message: Die) -> None:
        self.script.dies(message.reason, current(self).stop)

    def on_stop(self, reason: Reason) -> None:
        self.script.stops()


SCRIPTED: dict[str, Callable[[Script], Any]] = {
    "trio": ScriptedTrio,
    "asyncio": ScriptedAsyncio,
    "threading": ScriptedThreading,
}


class LiveStage:
    """A daemon whose control lane runs in a thread; requests go the way of any operator's."""

    def __init__(self, flavour: Flavour, scenario: Scenario, trace: Trace) -> None:
        self.flavour, self.trace = flavour, trace
        self.alive: set[str] = set()
        self.outcomes = {name: iter(plan) for name, plan in scenario["plans"].items()}
        self.refs: dict[str, Ref[Die]] = {}
        self.slots: list[Any] = []
        self.dying: dict[str, int] = defaultdict(int)
        self.noted = False
        children = [self.child(spec) for spec in scenario["children"]]
        limit = Limit(scenario["intensity"], within=1e9)
        self.daemon = Daemon(Supervisor(scenario["strategy"], tuple(children), limit, scenario["auto_shutdown"]))
        self.daemon.subscribe(self.ended_one, ActorEnded)
        self.thread = threading.Thread(target=trio.run, args=(self.daemon.main,), daemon=True)

    def child(self, spec: Spec) -> Child[Die]:
        script = Script(spec["id"], self.outcomes.setdefault(spec["id"], iter(())), self.trace, self.alive)
        return child(SCRIPTED[self.flavour], script).options(
            name=spec["id"], restart=spec["restart"], significant=spec["significant"], backoff=None
        )

    def ended_one(self, event: ActorEnded) -> None:
        name = event.path.lstrip("/")
        if self.dying[name]:
            self.dying[name] -= 1

    # -- the play ----------------------------------------------------------------------------------------------------
    def boot(self) -> None:
        self.thread.start()
        until(lambda: self.daemon.ready.done)
        if self.daemon.cause is None:
            self.trace.append(["started", self.view()])
        else:
            failed = self.daemon.cause
            assert isinstance(failed, StartFailed)
            self.thread.join(PATIENCE)
            self.trace.append(["start_failed", failed.path.lstrip("/"), str(failed.__cause__)])
            self.noted = True

    def running(self, name: str) -> bool:
        return name in self.alive

    def post(self, operation: Operation) -> None:
        """Everything that is posted before `settle` waits at the gate together."""
        match operation:
            case ["die", name, reason]:
                self.hold()
                before = len(self.daemon.control.orders)
                self.dying[name] += 1
                node: Any = self.daemon.root.nodes[name]
                node.ref.send(Die(reason))
                until(lambda: any(told(order, "on_ended", name) for order in self.waiting(before)))
            case ["start", spec]:
                self.hold()
                self.slots.append(self.daemon._start(self.child(spec), "/"))
            case [("terminate" | "restart" | "delete") as verb, name]:
                self.hold()
                self.slots.append(self.daemon._request(verb, f"/{name}"))
            case unknown:
                raise ValueError(unknown)

    def waiting(self, since: int) -> list[Any]:
        return list(self.daemon.control.orders)[since:]

    def hold(self) -> None:
        if not hasattr(self, "gate"):
            self.gate = threading.Event()
            held = threading.Event()
            gate = self.gate

            def wait_at_the_gate() -> None:
                held.set()
                gate.wait(PATIENCE)

            self.daemon.control.post(wait_at_the_gate)
            assert held.wait(PATIENCE)

    def settle(self) -> list[str]:
        if hasattr(self, "gate"):
            self.gate.set()
            del self.gate
        until(self.quiet)
        answers = [slot.take()[0] for slot in self.slots if slot.done]
        self.slots.clear()
        if self.over() and not self.noted:
            self.thread.join(PATIENCE)
            self.trace.append(["sup_exit", "shutdown"])
            self.noted = True
        return answers

    def over(self) -> bool:
        return self.daemon.stop_why is not None or self.daemon.ended.is_set()

    def quiet(self) -> bool:
        if self.over():
            return not self.thread.is_alive()
        if self.daemon.root.machine is None or any(self.dying.values()) or not all(slot.done for slot in self.slots):
            return False
        moving = any(state in MOVING for _, state in self.view())
        return not moving and self.daemon.root.machine is not None

    def view(self) -> list[list[str]]:
        slot = self.daemon._view("/")
        until(lambda: slot.done or not self.thread.is_alive())
        return [list(pair) for pair in slot.take()] if slot.done else []

    def ended(self) -> bool:
        return self.noted

    def close(self) -> None:
        trace = list(self.trace)
        self.daemon.stop("the play is over")
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the daemon does not end"
        self.trace[:] = trace


def told(order: tuple[Callable[..., object], tuple[Any, ...]], verb: str, name: str) -> bool:
    fn, args = order
    return getattr(fn, "__name__", "") == verb and bool(args) and getattr(args[0], "name", None) == name


def until(condition: Callable[[], object]) -> None:
    """Look again and again; other threads have their turn in between."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the play hangs"
        time.sleep(0)


def on_stage(flavour: Flavour) -> Staged:
    stage: Callable[[Scenario, Trace], Stage] = partial(LiveStage, flavour)
    return stage
