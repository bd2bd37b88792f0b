"""What systemd is told, by a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from signal import SIGTERM
from threading import Event
from time import monotonic, monotonic_ns
from typing import Any

import pytest
import trio

from tests.actors.stage import LOOPS, Crash, FlavourName, Host, Note, Read, checkpoint, role, until
from tests.daemon.notified import Environment, Fragile, Reloads, Remote
from tests.daemon.program import Program, run_code
from trouper import actor, child, current, one_for_one, open_daemon, pool
from trouper.daemon import notify
from trouper.daemon.daemon import Daemon
from trouper.daemon.notify import EXTENSION, Notifier, Pulse, Systemd, status_of, tell_systemd
from trouper.events import DaemonReady, DaemonStopping

Told = dict[str, str]


class Manager:
    """The end of the socket that systemd would read."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(20)
        self.messages: list[Told] = []

    def read(self) -> Told:
        """The next message, by its fields."""
        told = dict(line.split("=", 1) for line in self.socket.recv(1 << 16).decode().split("\n"))
        self.messages.append(told)
        return told

    def until(self, **wanted: str) -> Told:
        """Read until a message says this."""
        while True:
            if wanted.items() <= (told := self.read()).items():
                return told

    def read_all(self) -> None:
        """Read until nothing comes for too long."""
        while True:
            self.read()

    def rest(self) -> list[Told]:
        """What was sent and not read yet."""
        rest: list[Told] = []
        self.socket.setblocking(False)
        try:
            while True:
                rest.append(self.read())
        except BlockingIOError:
            return rest
        finally:
            self.socket.settimeout(20)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@trouper-notify-{os.getpid()}"
    made = Manager(address)
    yield made
    made.socket.close()


def program(manager: Manager, tree: str, **environment: str) -> Program:
    """`run` of a tree, started as systemd would."""
    environment = {"NOTIFY_SOCKET": manager.address, **environment}
    return run_code(f"""
import os
os.environ |= {environment!r}
if "WATCHDOG_PID" in os.environ:
    os.environ["WATCHDOG_PID"] = str(eval(os.environ["WATCHDOG_PID"]))
from tests.daemon import notified, trees
from trouper import run
run({tree})
""")


# -- real processes ----------------------------------------------------------------------------------------------------


def test_ready_is_told_when_the_tree_is_and_not_before(manager: Manager, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with program(manager, "notified.holds", GATE=str(gate)) as running:
        running.until_said("starting")
        assert all("READY" not in told for told in manager.rest())
        gate.open("w").close()
        ready = manager.until(READY="1")
        assert ready == {
            "READY": "1",
            "MAINPID": str(running.process.pid),
            "STATUS": "1 actor, 0 restarts, 0 dead letters",
        }
        running.signal(SIGTERM)
        stopping = manager.until(STOPPING="1")
        assert stopping["STATUS"] == "stopping: SIGTERM"
        assert running.end() == 0
        assert sum("READY" in told for told in manager.messages) == 1
        assert sum("STOPPING" in told for told in manager.messages + manager.rest()) == 1


def test_a_failure_is_told_at_the_end_and_a_boot_that_fails_is_never_ready(manager: Manager) -> None:
    with program(manager, "trees.not_starting") as running:
        assert running.end() == 70
    told = manager.rest()
    assert [one["STATUS"] for one in told if "STATUS" in one][-1].startswith(
        "failed: /fails_to_start: the start failed"
    )
    assert any("STOPPING" in one for one in told)
    assert not any("READY" in one for one in told)


def test_a_stop_that_takes_too_long_is_told_as_a_failure(manager: Manager) -> None:
    with program(manager, "trees.slow_to_stop, stop_within=0.1") as running:
        manager.until(READY="1")
        assert running.stop(SIGTERM) == 70
    assert manager.rest()[-1] == {"STATUS": "failed: it did not stop in time"}


def test_children_do_not_inherit_what_systemd_said(manager: Manager) -> None:
    with program(manager, "notified.environment", WATCHDOG_USEC="1000000", WATCHDOG_PID="os.getpid()") as running:
        running.until_said("[]")


def test_a_start_and_a_stop_that_take_long_ask_for_time(manager: Manager) -> None:
    with program(manager, "trees.slow_to_start") as running:
        running.until_said("start hangs")
        assert manager.until(EXTEND_TIMEOUT_USEC="30000000")
        running.signal(SIGTERM)
        assert manager.until(STOPPING="1")["EXTEND_TIMEOUT_USEC"] == "30000000"
        assert running.end() == 0


def test_the_watchdog_is_fed_while_every_lane_turns_and_no_longer(manager: Manager, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    watchdog = {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "os.getpid()"}
    with program(manager, "notified.blocking", GATE=str(gate), **watchdog) as running:
        for _ in range(5):
            manager.until(WATCHDOG="1")
        gate.open("w").close()
        manager.socket.settimeout(0.5)  # more than twice the time in which it would be fed
        with pytest.raises(TimeoutError):
            manager.read_all()
        running.process.kill()


def test_the_watchdog_of_another_process_is_not_fed(manager: Manager) -> None:
    with program(manager, "trees.idle", WATCHDOG_USEC="20000", WATCHDOG_PID="os.getpid() + 1") as running:
        manager.until(READY="1")
        assert running.stop(SIGTERM) == 0
        assert not any("WATCHDOG" in told for told in manager.messages + manager.rest())


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "@trouper-nobody"])
def test_a_socket_that_is_not_there_is_told_once_and_harms_nobody(address: str, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "other"))
    manager.address = address
    with program(manager, "trees.idle", WATCHDOG_USEC="20000") as running:
        running.until_logged("ready after")
        assert running.stop(SIGTERM) == 0
        assert running.log.count("systemd cannot be told") == 1
    manager.socket.close()


def test_a_manager_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        try:
            while True:
                other.sendto(b"FULL=1", manager.address)
        except BlockingIOError:
            """Now nothing fits any more."""
        with program(manager, "trees.idle") as running:
            running.until_logged("ready after")
            assert manager.until(READY="1")  # kept until there is room
            assert running.stop(SIGTERM) == 0
    manager.socket.close()


def test_a_process_that_systemd_did_not_start_tells_nothing() -> None:
    environment = {"WATCHDOG_USEC": "1"}
    assert tell_systemd(Daemon(child(Environment)), environment) is None
    assert environment == {}


# -- in the process of the test ----------------------------------------------------------------------------------------


async def test_an_embedded_daemon_tells_when_it_is_asked_to(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    async with open_daemon(child(Environment)):
        assert manager.rest() == []
        assert os.environ["NOTIFY_SOCKET"] == manager.address
    async with open_daemon(child(Environment), notify=True):
        assert await trio.to_thread.run_sync(lambda: manager.until(READY="1"))
        assert "NOTIFY_SOCKET" not in os.environ
    assert [one["STOPPING"] for one in manager.rest() if "STOPPING" in one] == ["1"]


async def test_a_reload_is_told_when_it_begins_and_when_it_is_over(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    async with open_daemon(one_for_one(child(Reloads)), notify=True) as daemon:
        manager.rest()
        before = monotonic_ns() // 1000
        assert await daemon.reload() == ()
        told = [one for one in manager.rest() if "RELOADING" in one or "READY" in one]
    assert [sorted(one) for one in told] == [["MONOTONIC_USEC", "RELOADING"], ["READY"]]
    assert before <= int(told[0]["MONOTONIC_USEC"]) <= monotonic_ns() // 1000


async def test_the_status_tells_counts_and_what_is_degraded(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    async def told(status: str) -> Told:
        return await trio.to_thread.run_sync(lambda: manager.until(STATUS=status))

    looks: list[float] = []
    look = Systemd.look

    def counted(systemd: Systemd, now: float) -> None:
        look(systemd, now)
        looks.append(now)

    monkeypatch.setattr(Systemd, "look", counted)
    monkeypatch.setattr(notify, "TICK", 0.001)
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    fragile, remote = child(Fragile), child(Remote)
    tree = one_for_one(one_for_one(remote, name="far"), fragile, pool(child(Fragile), size=3, name="crowd"))
    async with open_daemon(tree, notify=True):
        await told("5 actors, 0 restarts, 0 dead letters")
        fragile.ref.send(Crash())
        await told("5 actors, 1 restart, 1 dead letter")
        remote.ref.send(Crash())
        await told("DEGRADED, down: /far/remote; 4 actors, 2 restarts, 2 dead letters")
        await fragile.ref.ask(Read())
        manager.rest()
        looks.clear()
        await until(lambda: len(looks) > 20)
        assert manager.rest() == [], "nothing has changed"


async def test_spawned_actors_are_counted() -> None:
    @actor(flavour="threading")
    class Spawner:
        def on_start(self) -> None:
            for _ in range(4):
                current(self).spawn(child(Fragile))

        def receive(self, message: Note) -> None: ...

    async with open_daemon(one_for_one(child(Spawner))) as daemon:
        await until(lambda: status_of(daemon).startswith("5 actors"))
        assert daemon.restarts == 0


def test_every_lane_must_answer_the_control_lane_too() -> None:
    daemon = Daemon(child(Fragile))
    pulse = Pulse(daemon)
    assert pulse.beats()  # nobody was asked yet
    assert not pulse.beats()
    assert not pulse.beats()
    daemon.control.admit()
    assert pulse.beats()
    assert not pulse.beats()
    daemon.control.over = True  # one that has ended is not waited for
    assert pulse.beats()


@pytest.mark.parametrize("held_up", LOOPS)
def test_the_watchdog_is_not_fed_while_a_lane_of_either_kind_is_held_up(held_up: FlavourName) -> None:
    """The host's loop is the other lane, so that the test can go on."""

    @role("asyncio")
    class InAsyncio:
        async def receive(self, message: Read) -> list[Any]:
            return []

    gate, begun = Event(), Event()

    def hold() -> None:
        begun.set()
        gate.wait(20)

    async def body(daemon: Daemon) -> None:
        def feeds() -> int:
            systemd.look(next(seconds))
            return full.sent.count(b"WATCHDOG=1")

        seconds = count(1.0)
        systemd = Systemd(daemon, by_way_of(full := Full()), 1_000_000)
        full.room = True
        await until(lambda: feeds() > 3)
        lane = daemon.loops[held_up]
        lane.post(hold)
        assert begun.wait(20)
        await until(lambda: feeds() and systemd.pulse.asked == {lane})
        fed = feeds()
        for _ in range(100):
            await checkpoint()
            assert feeds() == fed
        gate.set()
        await until(lambda: feeds() > fed + 3)
        assert systemd.pulse.daemon.loops.keys() == set(LOOPS)

    Host("asyncio" if held_up == "trio" else "trio").run(one_for_one(child(Fragile), child(InAsyncio)), body)


async def test_time_is_asked_for_again_and_again_while_a_stop_lasts(autojump_clock: trio.testing.MockClock) -> None:
    """Each time before what was asked for the last time is over; not while it runs."""
    systemd = Systemd(Daemon(child(Fragile)), by_way_of(full := Full(trio.current_time)), None)
    full.room = True
    more = b"EXTEND_TIMEOUT_USEC=30000000"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(systemd.watch)
        for phase, step in (("starting", None), ("running", DaemonReady(200.0)), ("stopping", DaemonStopping("asked"))):
            begun = trio.current_time()
            full.times.clear()
            full.sent.clear()
            if step is not None:
                systemd.hear(step)
            assert systemd.phase == phase
            await trio.sleep(200)
            times = [at - begun for at, sent in zip(full.times, full.sent, strict=True) if more in sent]
            if phase == "running":
                assert times == []
                continue
            assert times[0] <= 1
            assert times[-1] >= 200 - EXTENSION
            assert max(after - before for before, after in pairwise(times)) < EXTENSION / 2
        nursery.cancel_scope.cancel()


class Full:
    """A socket that takes nothing until there is room."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.room = False
        self.sent: list[bytes] = []
        self.times: list[float] = []

    def sendto(self, data: bytes, flags: int, address: str) -> None:
        if not self.room:
            raise BlockingIOError
        self.sent.append(data)
        self.times.append(self.clock())


def by_way_of(full: Full) -> Notifier:
    notifier = Notifier("/any")
    notifier.close()
    notifier.socket = full  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    return notifier


def test_messages_wait_for_room_and_those_that_come_again_are_left_out() -> None:
    notifier = by_way_of(full := Full())
    notifier.send("READY=1", "STATUS=a")
    assert not notifier.offer("WATCHDOG=1")
    notifier.send("STOPPING=1")
    full.room = True
    assert notifier.offer("WATCHDOG=1")
    assert full.sent == [b"READY=1\nSTATUS=a", b"STOPPING=1", b"WATCHDOG=1"]


def test_what_was_left_out_is_told_as_soon_as_there_is_room() -> None:
    systemd = Systemd(Daemon(child(Fragile)), by_way_of(full := Full()), 60_000_000)
    systemd.notifier.send("READY=1")
    systemd.phase = "running"
    systemd.look(100.0)
    full.room = True
    systemd.daemon.control.admit()  # it turns
    systemd.look(101.0)
    assert full.sent == [b"READY=1", b"WATCHDOG=1", b"STATUS=0 actors, 0 restarts, 0 dead letters"]


@pytest.mark.parametrize("usec", ["", "0", "-5", "soon"])
def test_a_watchdog_time_that_is_none_is_no_watchdog(usec: str, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": usec}
    systemd = tell_systemd(Daemon(child(Fragile)), environment)
    assert systemd is not None
    assert systemd.patience is None
    systemd.notifier.close()
