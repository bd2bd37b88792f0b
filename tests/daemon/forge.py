"""Where programs come from quickly: a process that has imported everything forks one for each of them.

`python -m tests.daemon.forge` is that process. Its stdin is a socket: a request is what to run, with the file
descriptors of the new stdout and stderr, and of a pipe for the answers: the process id, and the exit code at the end.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import trouper.cli
from tests.daemon import trees

ROOT = Path(__file__).parents[2]


class Forked:
    """A forked program, as a `subprocess.Popen`."""

    def __init__(self, *what: str) -> None:
        (out, stdout), (err, stderr), (answers, told) = os.pipe(), os.pipe(), os.pipe()
        socket.send_fds(forge(), [json.dumps(what).encode()], [stdout, stderr, told])
        for fd in (stdout, stderr, told):
            os.close(fd)
        self.stdout, self.stderr, self.answers = (os.fdopen(fd) for fd in (out, err, answers))
        self.pid = int(self.answers.readline())
        self.returncode: int | None = None

    def wait(self) -> int:
        with self.answers:
            self.returncode = int(self.answers.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def forge() -> socket.socket:
    """The way to the process that forks; it ends with ours."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdin=theirs.fileno())

    def close() -> None:
        ours.close()
        process.wait()

    atexit.register(close)
    return ours


# -- in the process that forks -----------------------------------------------------------------------------------------


def main() -> None:
    requests = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    while True:
        text, fds, _, _ = socket.recv_fds(requests, 1 << 16, 3)
        if not text:
            return
        if os.fork() == 0:
            requests.close()
            keep(json.loads(text), *fds)
            return
        for fd in fds:
            os.close(fd)


def keep(what: list[str], stdout: int, stderr: int, told: int) -> None:
    """Have one program run, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):  # whoever started the tests may ignore them
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    if pid == 0:
        os.close(told)
        perform(*what)
    os.write(told, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def perform(kind: str, *words: str) -> None:
    if kind == "command":
        sys.exit(trouper.cli.main(words))
    elif kind == "script":
        trees.main(*words)
    else:
        exec(words[0], {"__name__": "__main__"})  # noqa: S102 - a program that a test wrote
        sys.exit()


if __name__ == "__main__":
    main()
