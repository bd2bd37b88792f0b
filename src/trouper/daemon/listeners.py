"""Listening sockets: passed by systemd, or bound here, and kept open while actors come and go.

A `Listener` is a value that stands among the arguments of a child. The sockets behind it belong to the daemon, so that
a client that connects while an actor is restarted waits in the queue of the socket and is not refused. Each life of an
actor gets duplicates, which it may close.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal

import attrs

from trouper.actors.speaker import whose
from trouper.errors import NotRunning, SpecError, UsageError, Words, show

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

Kind = Literal["stream", "datagram"]
Address = tuple[socket.AddressFamily, "str | tuple[str, int]"]

KINDS = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}
FIRST = 3  # the file descriptor where those begin that systemd passes
ENVIRONMENT = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
HOST_AND_PORT = r"(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:\[\]]*)):(?P<port>[0-9]+)"
ADDRESSES = "127.0.0.1:8080, [::1]:8080, :8080, /run/app.sock or @abstract"


@attrs.frozen
class Listener:
    """A socket to listen at, by its name; made by `listener(...)`.

    Args:
        name: what systemd calls it (`FileDescriptorName=`).
        bind: the address where it is bound if systemd does not pass it.
        kind: `stream` or `datagram`.
    """

    name: str
    bind: str | None
    kind: Kind

    def open(self) -> socket.socket:
        """Return a duplicate of the socket, for this life of the actor; close it as you like.

        All duplicates are one socket to the system: a connection goes to whoever accepts it first, and whether it
        blocks is the same for all of them. It blocks in threading actors, and does not in the async flavours.

        Raises:
            UsageError: no actor calls, or not in its own context; or several sockets have this name. NotRunning: its
                daemon is over.
            SpecError: systemd passed none of this name, or another kind, and the listener has no address of its own.
            OSError: it cannot be bound.
        """
        sockets = self.open_all()
        if len(sockets) > 1:
            for one in sockets:
                one.close()
            raise UsageError(f"{self!r}: systemd passed {len(sockets)} sockets of this name; use open_all()")
        return sockets[0]

    def open_all(self) -> list[socket.socket]:
        """Return duplicates of all sockets of this name: a socket unit may have several addresses.

        Raises:
            UsageError, NotRunning, SpecError, OSError: as `open`.
        """
        cell = whose()
        daemon = None if cell is None else cell.world.daemon
        if cell is None or daemon is None:
            raise UsageError(f"{self!r}: opened by nobody; allowed: an actor, in `on_start`, `run` or a handler")
        sockets: list[socket.socket] = daemon.sockets.open(self)
        for one in sockets:
            one.setblocking(cell.threaded)
        return sockets

    def __repr__(self) -> str:
        """As it was made."""
        bind = f", bind={self.bind!r}" if self.bind is not None else ""
        kind = f", kind={self.kind!r}" if self.kind != "stream" else ""
        return f"listener({self.name!r}{bind}{kind})"


def listener(name: str, *, bind: str | None = None, kind: Kind = "stream") -> Listener:
    """Describe a socket to listen at: systemd's, where it passes one of this name, else one that the daemon binds.

    It is an argument like others, `child(Web, http=listener("http", bind="127.0.0.1:8080"))`, and the actor calls
    `self.http.open()` in each of its lives. The daemon keeps the socket open meanwhile, so that nobody who connects
    during a restart is refused.

    Args:
        name: as in `FileDescriptorName=` of the socket unit.
        bind: `127.0.0.1:8080`, `[::1]:8080`, `:8080` (all addresses), a path, or `@name` for an abstract unix
            socket; None if systemd must pass it.
        kind: `stream` (it listens), or `datagram`.

    Returns:
        The listener, an immutable value.

    Raises:
        SpecError: a field is wrong.
    """
    where = f"listener({show(name)})"
    if not isinstance(name, str) or not name or not name.isprintable() or ":" in name:
        raise SpecError("listener", "name", name, "a printable string without ':'")
    if kind not in KINDS:
        raise SpecError(where, "kind", kind, "stream or datagram")
    if bind is not None:
        parsed(where, bind)
    return Listener(name, bind, kind)


class Sockets:
    """The listening sockets of one daemon.

    Args:
        environment: where systemd says what it passed.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.passed = passed_in(environment)
        self.bound: dict[Listener, socket.socket] = {}
        self.paths: list[tuple[Path, os.stat_result]] = []
        self.changing = Lock()
        self.over = False

    def open(self, wanted: Listener) -> list[socket.socket]:
        """Return duplicates of what is behind a listener; any thread may ask."""
        if wanted.name in self.passed:
            for fd in self.passed[wanted.name]:
                check_kind(wanted, fd)
            return [duplicate(fd) for fd in self.passed[wanted.name]]
        if wanted.bind is None:
            names = ", ".join(self.passed) or "nothing"
            given = Words(f"{wanted.name!r}, and systemd passed {names}")
            raise SpecError(
                repr(wanted), "name", given, "the FileDescriptorName= of a socket unit, or an address, bind="
            )
        with self.changing:
            if self.over:
                raise NotRunning(f"{wanted!r}: opened when its daemon is over")
            if wanted not in self.bound:
                self.bound[wanted] = self.bind(wanted, wanted.bind)
            return [self.bound[wanted].dup()]

    def bind(self, wanted: Listener, bind: str) -> socket.socket:
        family, address = parsed(repr(wanted), bind)
        made = socket.socket(family, KINDS[wanted.kind])
        try:
            if family == socket.AF_UNIX:
                if bind.startswith("/"):
                    remove_stale(bind, KINDS[wanted.kind])
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            if family == socket.AF_UNIX and bind.startswith("/"):
                self.paths.append((Path(bind), Path(bind).lstat()))
            if wanted.kind == "stream":
                made.listen(socket.SOMAXCONN)
        except OSError as error:
            made.close()
            error.add_note(f"{wanted!r} is bound here: systemd passed {', '.join(self.passed) or 'nothing'}")
            raise
        return made

    def close(self) -> None:
        """Close what was bound here; what systemd passed is kept for whoever comes next in this process."""
        with self.changing:
            self.over = True
            for path, made in self.paths:
                with suppress(OSError):
                    if os.path.samestat(path.lstat(), made):
                        path.unlink()
            for one in self.bound.values():
                one.close()


def passed_in(environment: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the file descriptors by name, as `sd_listen_fds_with_names`; children do not inherit them.

    Raises:
        SpecError: one of them is not open.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count, passed = environment.get("LISTEN_FDS", ""), dict[str, list[int]]()
    names = environment["LISTEN_FDNAMES"].split(":") if "LISTEN_FDNAMES" in environment else []
    for number in range(int(count) if count.isdigit() else 0):
        try:
            os.set_inheritable(FIRST + number, False)  # noqa: FBT003 - it has no other name
        except OSError as error:
            given = Words(f"{count}, and file descriptor {FIRST + number} is not open")
            raise SpecError("the daemon", "LISTEN_FDS", given, f"how many are open from {FIRST} on") from error
        passed.setdefault(names[number] if number < len(names) else "unknown", []).append(FIRST + number)
    return passed


def forget_passed(environment: MutableMapping[str, str]) -> None:
    """What was meant for this process is no child's business."""
    for name in ENVIRONMENT:
        environment.pop(name, None)


def duplicate(fd: int) -> socket.socket:
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def check_kind(wanted: Listener, fd: int) -> None:
    """Whether this is the socket that is meant.

    Raises:
        SpecError: it is another kind, does not listen, or is no socket.
    """
    try:
        with duplicate(fd) as one:
            kind = {number: name for name, number in KINDS.items()}.get(one.type, one.type.name)
            listens = kind != wanted.kind or kind != "stream" or one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        kind, listens = "file that is no socket", True
    if kind != wanted.kind or not listens:
        given = Words(f"a {kind}{'' if listens else ' that does not listen'} from systemd, file descriptor {fd}")
        allowed = "ListenStream= with Accept=no" if wanted.kind == "stream" else "ListenDatagram="
        raise SpecError(repr(wanted), "kind", given, f"a {wanted.kind}: {allowed} in the socket unit")


def parsed(where: str, bind: object) -> Address:
    """What an address in words means.

    Raises:
        SpecError: nothing.
    """
    if isinstance(bind, str) and "\0" not in bind:
        if bind.startswith("/"):
            return socket.AF_UNIX, bind
        if bind.startswith("@") and len(bind) > 1:
            return socket.AF_UNIX, "\0" + bind[1:]
        match = re.fullmatch(HOST_AND_PORT, bind)
        with suppress(ValueError):
            if match is not None and (port := int(match["port"])) < 1 << 16:
                host = match["six"] or match["four"] or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")  # noqa: S104 - asked for
                version = ip_address(host).version
                if match["six"] is None or version == 6:  # noqa: PLR2004 - IPv6
                    return (socket.AF_INET6 if version == 6 else socket.AF_INET), (host, port)  # noqa: PLR2004 - IPv6
    raise SpecError(where, "bind", bind, ADDRESSES)


def remove_stale(path: str, kind: int) -> None:
    """Remove the file of a socket that nobody listens at any more."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).lstat().st_mode):
            with socket.socket(socket.AF_UNIX, kind) as probe:
                probe.setblocking(False)  # noqa: FBT003 - it has no other name
                try:
                    probe.connect(path)
                except BlockingIOError:
                    """Somebody listens, and is busy."""
                except ConnectionRefusedError:
                    Path(path).unlink()
