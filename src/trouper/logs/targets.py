"""Where a log goes. A target is written to by one thread, and may block."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

JOURNAL = "/run/systemd/journal/socket"


class Target(Protocol):
    """What takes records as bytes."""

    def write(self, data: bytes) -> None:
        """Write one record.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def close(self) -> None: ...


class Stream:
    """An open text stream, such as stderr; None is one that the process does not have."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def write(self, data: bytes) -> None:
        if self.stream is not None:
            try:
                self.stream.write(data.decode())
                self.stream.flush()
            except ValueError as error:  # it is closed
                raise OSError(str(error)) from error

    def close(self) -> None: ...


class File:
    """A file that is appended to. One that was moved or removed, by logrotate for one, is opened anew."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.fd = self.open()

    def open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, data: bytes) -> None:
        if self.moved():
            fd = self.open()
            os.close(self.fd)
            self.fd = fd
        while data:
            data = data[os.write(self.fd, data) :]

    def moved(self) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self.fd))

    def close(self) -> None:
        fd, self.fd = self.fd, -1  # who comes late must not write to what has the number next
        os.close(fd)


class Journal:
    """The systemd journal; what is too large for a datagram goes in a sealed memory file."""

    def __init__(self, address: str = JOURNAL) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise

    def write(self, data: bytes) -> None:
        try:
            self.send(data)
        except OSError:  # journald was started anew
            self.socket.connect(self.address)
            self.send(data)

    def send(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self.send_file(data)

    def send_file(self, data: bytes) -> None:
        fd = os.memfd_create("trouper log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(data)
            fcntl.fcntl(
                fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            )
            socket.send_fds(self.socket, [b""], [fd])
        finally:
            os.close(fd)

    def close(self) -> None:
        self.socket.close()
