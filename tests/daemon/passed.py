"""A daemon that got sockets as systemd passes them; it says what an actor sees that opens a listener."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from trouper import Listener, SpecError, UsageError, actor, child, listener, one_for_one, run
from trouper.daemon.listeners import ENVIRONMENT


def say(words: object) -> None:
    print(words, flush=True)  # noqa: T201 - the test reads it


@actor(flavour="threading", restart="temporary", significant=True)
class Opening:
    http: Listener
    together: bool

    def run(self) -> None:
        try:
            sockets = self.http.open_all() if self.together else [self.http.open()]
        except (SpecError, UsageError) as error:
            say(f"{type(error).__name__}: {error}")
        else:
            say([one.getsockname() for one in sockets])
        say([fd for fd in range(3, 30) if is_inherited(fd)])
        say(sorted(set(os.environ) & set(ENVIRONMENT)))


def is_inherited(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def datagram() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return made


def connected() -> socket.socket:
    return socket.socketpair()[0]


def file() -> Any:
    return Path(os.devnull).open()


def serve(kinds: list[str], names: str | None, pid: int | None, together: bool, wanted: dict[str, Any]) -> None:
    """Run it, with things of these kinds from file descriptor 3 on."""
    passed = [globals()[kind]() for kind in kinds]
    say([one.getsockname() if isinstance(one, socket.socket) else None for one in passed])
    for place, one in enumerate(passed):
        os.dup2(one.fileno(), 100 + place)
        one.close()
    for place in range(len(passed)):
        os.dup2(100 + place, 3 + place)
        os.close(100 + place)
    os.environ["LISTEN_PID"] = str(os.getpid() if pid is None else pid)
    os.environ["LISTEN_FDS"] = str(len(kinds))
    if names is not None:
        os.environ["LISTEN_FDNAMES"] = names
    run(one_for_one(child(Opening, listener(**wanted), together), auto_shutdown="any_significant"))
