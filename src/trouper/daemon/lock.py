"""One instance: a file that one process holds locked.

The system lets go of the lock when its holder ends, however it ends; what stands in the file is only for people. The
file stays: to remove it would let two processes hold two files of one name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trouper.errors import SpecError, Words


class Locked(Exception):
    """Internal: another process holds the lock; nobody's fault, and it may end.

    Args:
        path: the file.
        holder: its process id, if it has written it by now.
    """

    def __init__(self, path: str, holder: int | None) -> None:
        super().__init__(path, holder)
        self.path, self.holder = path, holder

    def __str__(self) -> str:
        who = "a process that did not say which" if self.holder is None else f"process {self.holder}"
        return f"another instance runs: {who} holds {self.path}"


class Lock:
    """The lock of this process, held until it ends or `release`. A forked child does not have it.

    Args:
        path: the file; made if it is not there.

    Raises:
        Locked: another one has it.
        SpecError: there can be no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.fd: int | None = None
        try:
            while self.fd is None:
                self.fd = self.take()
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            given = Words(f"{path} ({error.strerror or error})")
            raise SpecError("the daemon", "lock", given, "a file in a directory that can be written to") from error
        os.register_at_fork(after_in_child=self.release)

    def take(self) -> int | None:
        """Open and lock the file; None if another one has its name by then."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), self.path.stat()):
                kept, fd = fd, -1
                return kept
        except BlockingIOError:
            raise Locked(str(self.path), holder(fd)) from None
        except FileNotFoundError:
            pass
        finally:
            if fd >= 0:
                os.close(fd)
        return None

    def release(self) -> None:
        """Let go of it; a second call is harmless."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def holder(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
