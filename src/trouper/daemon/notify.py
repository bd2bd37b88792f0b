"""What systemd is told, by `sd_notify`'s protocol: a few lines in a datagram, to the socket that it names.

| told | when |
|---|---|
| `READY=1` | the tree is up, or a reload is over |
| `RELOADING=1` | a reload begins |
| `STOPPING=1` | the stop begins, whoever asked for it |
| `STATUS=` | it changed, at most once a second: counts, and what is degraded |
| `WATCHDOG=1` | twice per `WATCHDOG_USEC`, while every lane turns |
| `EXTEND_TIMEOUT_USEC=` | again and again while the tree starts or stops, both of which have deadlines of their own |

The control lane tells all of it and never waits: what the socket does not take is kept, or left out where it will be
told again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from time import monotonic_ns, perf_counter
from typing import TYPE_CHECKING

import trio

from trouper.events import DaemonReady, DaemonReloaded, DaemonReloading, DaemonStopping
from trouper.supervision.node import Elsewhere
from trouper.supervision.snapshot import count_running

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from trouper.daemon.daemon import Daemon
    from trouper.events import Event
    from trouper.lanes.lane import Lane

log = logging.getLogger("trouper")

ENVIRONMENT = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
TICK = 1.0  # seconds between two looks
EXTENSION = 30.0  # seconds that a start or a stop may last on, from each time that it is said
EXTEND_EVERY = 10.0  # seconds
LONGEST = 1000  # characters of a status
SHARE = 100  # counting actors takes at most one part in so many of the control lane's time


class Notifier:
    """The way to systemd. It never blocks and never raises; what is wrong with it is logged once.

    Args:
        address: a path, or `@name` for an abstract socket.
    """

    def __init__(self, address: str) -> None:
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.unsent: deque[bytes] = deque()
        self.complained = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, *lines: str) -> None:
        """Send a message, later if there is no room now."""
        self.unsent.append("\n".join(lines).encode(errors="replace"))
        self.flush()

    def offer(self, *lines: str) -> bool:
        """Send a message if there is room; False: there is none, and it is to be told again."""
        self.flush()
        if self.unsent:
            return False
        self.send(*lines)
        return True

    def flush(self) -> None:
        """Send what is left, as far as there is room."""
        while self.unsent:
            try:
                self.socket.sendto(self.unsent[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self.address)
            except BlockingIOError:
                return
            except OSError as error:
                if not self.complained:
                    self.complained = True
                    log.warning(
                        "systemd cannot be told, at NOTIFY_SOCKET=%s: %s", self.address.replace("\0", "@"), error
                    )
                return
            self.unsent.popleft()

    def close(self) -> None:
        self.socket.close()


class Pulse:
    """Whether every lane of a daemon turns, the control lane too, asked again and again."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.asked: set[Lane] = set()

    def beats(self) -> bool:
        """Whether all lanes that were asked the last time have answered; if so, all are asked anew."""
        if any(not lane.over for lane in list(self.asked)):
            return False
        lanes: list[Lane] = [self.daemon.control, *self.daemon.loops.values()]
        self.asked = {lane for lane in lanes if not lane.over}
        for lane in list(self.asked):
            lane.post(self.asked.discard, lane)
        return True


class Systemd:
    """What one daemon tells systemd.

    Args:
        daemon: it is not running yet.
        notifier: the way.
        watchdog_usec: microseconds without a `WATCHDOG=1` after which systemd acts; None is no watchdog.
    """

    def __init__(self, daemon: Daemon, notifier: Notifier, watchdog_usec: int | None) -> None:
        self.daemon, self.notifier = daemon, notifier
        self.pulse = Pulse(daemon)
        self.patience = None if watchdog_usec is None else watchdog_usec / 1e6
        self.tick = TICK if self.patience is None else min(TICK, self.patience / 4)
        self.phase = "starting"
        self.status = ""
        self.beat_at = self.count_at = self.extend_at = 0.0
        daemon.announce = self.hear
        daemon.companions.append(self.watch)

    def hear(self, event: Event) -> None:
        """A step of the daemon, in the control lane."""
        match event:
            case DaemonReady():
                self.phase = "running"
                self.notifier.send("READY=1", f"MAINPID={os.getpid()}", *self.changed_status())
            case DaemonReloading():
                self.notifier.send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")
            case DaemonReloaded():
                self.notifier.send("READY=1", *self.changed_status())
            case DaemonStopping(why):
                self.phase = "stopping"
                self.notifier.send("STOPPING=1", one_line(f"STATUS=stopping: {why}"), *self.extension())
            case _:
                """Its status tells it in the end."""

    async def watch(self) -> None:
        """Tell what is to be told again and again, until cancelled."""
        while True:
            self.look(trio.current_time())
            await trio.sleep(self.tick)

    def look(self, now: float) -> None:
        self.notifier.flush()
        offer = self.notifier.offer
        if self.phase in {"starting", "stopping"} and now >= self.extend_at and offer(*self.extension()):
            self.extend_at = now + EXTEND_EVERY
        if self.patience is not None and self.pulse.beats() and now >= self.beat_at and offer("WATCHDOG=1"):
            self.beat_at = now + self.patience / 2 - self.tick / 2
        if self.phase == "running" and now >= self.count_at:
            began = perf_counter()
            if (changed := self.changed_status()) and not offer(*changed):
                self.status = ""
            self.count_at = now + (perf_counter() - began) * SHARE

    def changed_status(self) -> list[str]:
        """The status as a line of a message, if it is another one than the last that was told."""
        status = status_of(self.daemon)
        if status == self.status:
            return []
        self.status = status
        return [one_line(f"STATUS={status}")]

    def extension(self) -> list[str]:
        return [f"EXTEND_TIMEOUT_USEC={EXTENSION * 1e6:.0f}"]

    def ended(self) -> None:
        """The daemon is over: a failure is what `systemctl status` shows from now on."""
        if self.daemon.code:
            self.notifier.send(one_line(f"STATUS=failed: {self.daemon.said}"))
        self.notifier.close()


def status_of(daemon: Daemon) -> str:
    world, places = daemon.world, list(daemon.places())
    down = set(world.degraded.copy())
    down.update(*(node.degraded() for node, _ in places if isinstance(node, Elsewhere)))
    counts = [
        counted(count_running(places), "actor"),
        counted(world.restarts, "restart"),
        counted(world.dead_letters, "dead letter"),
    ]
    degraded = f"DEGRADED, down: {', '.join(sorted(down))}; " if down else ""
    return degraded + ", ".join(counts)


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def tell_systemd(daemon: Daemon, environment: MutableMapping[str, str]) -> Systemd | None:
    """Have a daemon tell systemd of itself, if that wants to hear it; children of the process shall not.

    Args:
        daemon: it is not running yet.
        environment: where systemd says so; its words are removed from it.
    """
    address, usec, pid = (environment.pop(name, "") for name in ENVIRONMENT)
    if not address:
        return None
    ours = usec.isdigit() and int(usec) > 0 and pid in {"", str(os.getpid())}
    return Systemd(daemon, Notifier(address), int(usec) if ours else None)
