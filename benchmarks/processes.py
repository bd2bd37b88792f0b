"""Between two processes: messages one way, and round trips, beside a bare socket pair in the same run.

```
python benchmarks/processes.py                       # all of it, the medians of seven runs
python benchmarks/processes.py --runs 3 --only trio,asyncio
```

`bare` is two processes, each blocking in `recv`, that pass the bytes of the same frames to and fro; `bare codec` also
encodes and decodes them; `bare trio` and `bare asyncio` wait for the socket in a loop. Prints a line of JSON for each
figure of each run, then the medians and ratios. A ratio is taken within one run. What the processes themselves cost
follows: `workers.py`, in as many runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import msgspec
import trio
from common import expect, latencies, say

from trouper import Daemon, Mailbox, Message, Ref, Request, actor, child, one_for_one, open_daemon
from trouper.actors.definition import definition_of
from trouper.daemon.process import SWITCH_INTERVAL
from trouper.workers.frames import ANSWER, ASK, HEAD, SEND, frame
from trouper.workers.link import Wire
from trouper.workers.peer import Office, Peer
from trouper.workers.waiting import Gate, WiredLane

COUNT = 400_000
TRIPS = 3000
FLAVOURS = ("trio", "asyncio", "threading")


class Sample(Message):
    name: str
    value: float


class Total(Request[int]):
    """How many samples came?"""


class Ping(Request[int]):
    value: int


def classes(flavour: Any) -> tuple[Any, Any]:
    """Who counts, and who answers; handlers are coroutine functions in the loops."""
    unbounded = Mailbox(None)
    if flavour == "threading":

        @actor(flavour=flavour, mailbox=unbounded)
        class Counter:
            count: int = 0

            def receive(self, message: Sample | Total) -> int | None:
                if isinstance(message, Sample):
                    self.count += 1
                    return None
                return self.count

        @actor(flavour=flavour)
        class Echo:
            def receive(self, message: Ping) -> int:
                return message.value

        return Counter, Echo

    @actor(flavour=flavour, mailbox=unbounded)
    class AsyncCounter:
        count: int = 0

        async def receive(self, message: Sample | Total) -> int | None:
            if isinstance(message, Sample):
                self.count += 1
                return None
            return self.count

    @actor(flavour=flavour)
    class AsyncEcho:
        async def receive(self, message: Ping) -> int:
            return message.value

    return AsyncCounter, AsyncEcho


# -- trouper -----------------------------------------------------------------------------------------------------------
async def serve(sock: socket.socket, flavour: str) -> None:
    """The other process."""
    counter, echo = classes(flavour)
    tree = one_for_one(child(counter).options(name="counter"), child(echo).options(name="echo"))
    wire = Wire()
    daemon = Daemon(tree, thread_lane=lambda name: WiredLane(name, wire))
    office = Office(daemon.ref_at)
    office.home = Peer(
        "the parent",
        daemon.world,
        wire,
        find=office.find,
        local=daemon.ref_at,
        on_lost=lambda _: daemon.stop(),
    )
    office.home.attach(sock)
    wire.start()
    daemon.loops.listen(partial(Gate, wire))
    await daemon.main()


class Drive(Request[dict[str, float]]):
    """Measure."""


def director(flavour: Any) -> Any:
    """An actor of this process that sends and asks, in its lane, or has a plain thread do so."""
    if flavour == "threading":

        @actor(flavour="trio")
        class Caller:
            refs: list[Ref[Any]]

            async def receive(self, _message: Drive) -> dict[str, float]:
                return await trio.to_thread.run_sync(from_a_thread, *self.refs)

        return Caller

    @actor(flavour=flavour)
    class Director:
        refs: list[Ref[Any]]

        async def receive(self, _message: Drive) -> dict[str, float]:
            counter, echo = self.refs
            expect(await echo.ask(Ping(0), timeout=None), 0)  # the other process is up
            samples = []
            for number in range(TRIPS):
                begin = time.perf_counter()
                expect(await echo.ask(Ping(number), timeout=None), number)
                samples.append(time.perf_counter() - begin)
            begin, send = time.perf_counter(), counter.send
            for _ in range(COUNT):
                send(Sample("load", 1.5))
            expect(await counter.ask(Total(), timeout=None), COUNT)
            return {"rate": COUNT / (time.perf_counter() - begin), **latencies(samples)}

    return Director


def from_a_thread(counter: Ref[Any], echo: Ref[Any]) -> dict[str, float]:
    expect(echo.ask_sync(Ping(0), timeout=None), 0)  # the other process is up
    samples = []
    for number in range(TRIPS):
        begin = time.perf_counter()
        expect(echo.ask_sync(Ping(number), timeout=None), number)
        samples.append(time.perf_counter() - begin)
    begin, send = time.perf_counter(), counter.send
    for _ in range(COUNT):
        send(Sample("load", 1.5))
    expect(counter.ask_sync(Total(), timeout=None), COUNT)
    return {"rate": COUNT / (time.perf_counter() - begin), **latencies(samples)}


async def drive(sock: socket.socket, flavour: str) -> dict[str, float]:
    """This process."""
    counter, echo = map(definition_of, classes(flavour))
    refs: list[Ref[Any]] = []
    driver = child(director(flavour), refs)
    async with open_daemon(one_for_one(driver)) as daemon:
        wire, office = Wire(), Office(daemon.ref_at)
        peer = Peer("/worker", daemon.world, wire, find=office.find, local=daemon.ref_at)
        refs += [peer.ref("/counter", counter), peer.ref("/echo", echo)]
        peer.attach(sock)
        wire.start()
        daemon.loops.listen(partial(Gate, wire))
        found: dict[str, float] = await driver.ref.ask(Drive(), timeout=None)
        wire.close()
        return found


# -- bare --------------------------------------------------------------------------------------------------------------
REQUEST = frame(ASK, 1, 1, msgspec.msgpack.encode(Ping(1)))
REPLY = frame(ANSWER, 0, 1, msgspec.msgpack.encode(1))
BATCH = 512
SAMPLES = frame(SEND, 1, BATCH, msgspec.msgpack.encode([Sample("load", 1.5)] * BATCH))
pings, numbers = msgspec.msgpack.Decoder(Ping), msgspec.msgpack.Decoder(int)
encoder = msgspec.msgpack.Encoder()


def echo_bytes(sock: socket.socket) -> None:
    while sock.recv(65536):
        sock.sendall(REPLY)


def echo_codec(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        _, _, _, number = HEAD.unpack_from(data)
        ping = pings.decode(data[HEAD.size :])
        sock.sendall(frame(ANSWER, 0, number, encoder.encode(ping.value)))


def echo_trio(sock: socket.socket) -> None:
    async def main() -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            if not sock.recv(65536):
                return
            sock.send(REPLY)

    trio.run(main)


def echo_asyncio(sock: socket.socket) -> None:
    async def main() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def readable() -> None:
            if sock.recv(65536):
                sock.send(REPLY)
            else:
                loop.remove_reader(sock)
                over.set()

        loop.add_reader(sock, readable)
        await over.wait()

    asyncio.run(main())


def trips(call: Callable[[int], object]) -> dict[str, float]:
    samples = []
    call(0)
    for number in range(TRIPS):
        begin = time.perf_counter()
        call(number)
        samples.append(time.perf_counter() - begin)
    return latencies(samples)


def ask_bytes(sock: socket.socket) -> dict[str, float]:
    def call(_: int) -> None:
        sock.sendall(REQUEST)
        sock.recv(65536)

    return trips(call)


def ask_codec(sock: socket.socket) -> dict[str, float]:
    def call(number: int) -> None:
        sock.sendall(frame(ASK, 1, number, encoder.encode(Ping(number))))
        data = sock.recv(65536)
        HEAD.unpack_from(data)
        expect(numbers.decode(data[HEAD.size :]), number)

    return trips(call)


def ask_trio(sock: socket.socket) -> dict[str, float]:
    async def main() -> dict[str, float]:
        samples = []
        for _ in range(TRIPS):
            begin = time.perf_counter()
            sock.send(REQUEST)
            await trio.lowlevel.wait_readable(sock)
            sock.recv(65536)
            samples.append(time.perf_counter() - begin)
        return latencies(samples)

    return trio.run(main)


def ask_asyncio(sock: socket.socket) -> dict[str, float]:
    async def main() -> dict[str, float]:
        loop, samples = asyncio.get_running_loop(), []
        for _ in range(TRIPS):
            begin = time.perf_counter()
            sock.send(REQUEST)
            await loop.sock_recv(sock, 65536)
            samples.append(time.perf_counter() - begin)
        return latencies(samples)

    return asyncio.run(main())


BARE = {
    "bare": (echo_bytes, ask_bytes),
    "bare codec": (echo_codec, ask_codec),
    "bare trio": (echo_trio, ask_trio),
    "bare asyncio": (echo_asyncio, ask_asyncio),
}


# -- the two processes -------------------------------------------------------------------------------------------------
def child_main(system: str, number: int) -> None:
    sock = socket.socket(fileno=number)
    if system in BARE:
        sock.setblocking(system in {"bare", "bare codec"})
        BARE[system][0](sock)
    else:
        sys.setswitchinterval(SWITCH_INTERVAL)
        trio.run(serve, sock, system)


def measure(system: str) -> dict[str, float]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, __file__, "--child", system, str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as other:  # noqa: S603 - ourselves
        theirs.close()
        try:
            if system not in BARE:
                return trio.run(drive, ours, system)  # the link owns the socket
            with ours:
                ours.setblocking(system in {"bare", "bare codec"})
                return BARE[system][1](ours)
        finally:
            other.wait(20)


@attrs.frozen
class Target:
    """A ratio or a rate that is wanted."""

    name: str
    found: float
    wanted: float
    at_least: bool

    def row(self) -> str:
        meets = self.found >= self.wanted if self.at_least else self.found <= self.wanted
        return json.dumps({"target": self.name, "found": round(self.found, 3), "wanted": self.wanted, "meets": meets})


def targets(runs: list[dict[str, dict[str, float]]]) -> list[Target]:
    """One way: the rate. Round trips: the ratio to each bare echo, within a run."""
    found = []
    for flavour in FLAVOURS:
        if flavour in runs[0]:
            rate = median(run[flavour]["rate"] for run in runs)
            found.append(Target(f"one way messages/s, {flavour}", rate, 400_000, at_least=True))
    for flavour in FLAVOURS:
        for bare in ("bare", "bare codec", f"bare {flavour}"):
            if flavour in runs[0] and bare in runs[0]:
                ratio = median(run[flavour]["p50_us"] / run[bare]["p50_us"] for run in runs)
                found.append(Target(f"round trip p50, {flavour} to {bare}", ratio, 1.3, at_least=False))
    return found


def main() -> None:
    """Take turns, so that what else the machine does hits all alike."""
    arguments = argparse.ArgumentParser(description="Between two processes.")
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--only", help="flavours, with commas")
    arguments.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child:
        child_main(chosen.child[0], int(chosen.child[1]))
        return
    flavours = chosen.only.split(",") if chosen.only else FLAVOURS
    sys.setswitchinterval(SWITCH_INTERVAL)
    runs = []
    for number in range(chosen.runs):
        row = {system: measure(system) for system in (*BARE, *flavours)}
        runs.append(row)
        for system, figures in row.items():
            say(json.dumps({"run": number + 1, "system": system, **figures}))
    for target in targets(runs):
        say(target.row())
    if not chosen.only:
        workers = [sys.executable, str(Path(__file__).with_name("workers.py")), "--runs", str(chosen.runs)]
        sys.stdout.flush()
        raise SystemExit(subprocess.call(workers))  # noqa: S603 - our own


if __name__ == "__main__":
    main()
