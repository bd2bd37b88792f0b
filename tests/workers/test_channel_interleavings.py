"""The argument in `channel.py` holds however two threads interleave, and each part of it is needed."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lanes.explorer import LANE, Explorer, Findings, Mutation, Story, Token, compiled
from tests.workers.test_link_interleavings import TryLock
from trouper.workers import channel as channel_module
from trouper.workers.channel import LENGTH

pytestmark = pytest.mark.once

Tell = Callable[[dict[str, Any], Token], Story]


class Socket:
    """It has so much room for who does not wait."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def fileno(self) -> int:
        return 0

    def settimeout(self, seconds: float | None) -> None: ...

    def send(self, data: bytes, how: int) -> int:
        count = min(self.room, len(data)) if how == socket.MSG_DONTWAIT else len(data)
        if not count:
            raise BlockingIOError
        self.room -= count
        self.data += data[:count]
        return count


class Stage:
    """A channel; the first thread is in turn each that the channel starts."""

    def __init__(self, code: dict[str, Any], token: Token, room: int) -> None:
        self.token = token
        self.threads: deque[Callable[[], object]] = deque()
        code["Lock"] = lambda: TryLock(token)
        code["Thread"] = lambda target, **_: SimpleNamespace(start=lambda: self.threads.append(target))
        self.socket = Socket(room)
        code["pickle"] = SimpleNamespace(dumps=lambda message, _: message[0].encode(), HIGHEST_PROTOCOL=5)
        self.channel = code["Channel"](self.socket, "it")

    def send(self, *words: str) -> None:
        for word in words:
            self.channel.send(word)

    def be_its_threads(self) -> None:
        while self.token.wait_until(LANE, lambda: self.threads):
            self.threads.popleft()()

    def outcome(self) -> list[str]:
        """What was written; what lies about unwritten is not there."""
        found: list[str] = []
        data = self.socket.data
        while data:
            (length,) = LENGTH.unpack(data[: LENGTH.size])
            text, data = data[LENGTH.size : LENGTH.size + length], data[LENGTH.size + length :]
            found.append(text.decode())
        return sorted(found)


def both_write(code: dict[str, Any], token: Token) -> Story:
    """One finds the other at it."""
    stage = Stage(code, token, 1 << 20)

    def first() -> None:
        stage.send("a")
        stage.be_its_threads()

    return Story(first, lambda: stage.send("b", "c"), stage.outcome)


def the_socket_is_full(code: dict[str, Any], token: Token) -> Story:
    """A thread writes the rest, while more is sent."""
    stage = Stage(code, token, 3)
    return Story(stage.be_its_threads, lambda: stage.send("a", "b", "c"), stage.outcome)


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    explorer = Explorer()
    yield explorer
    explorer.close()


def explore(explorer: Explorer, tell: Tell, *mutations: Mutation) -> Findings:
    code = compiled(channel_module, *mutations)
    return explorer.explore(lambda token: tell(code, token), ["a", "b", "c"], switches=2, stride=3)


@pytest.mark.parametrize("tell", [both_write, the_socket_is_full])
def test_whatever_is_sent_is_written_however_two_threads_interleave(explorer: Explorer, tell: Tell) -> None:
    found = explore(explorer, tell)
    assert found.wrong is None
    assert found.schedules > 100


MUTANTS: dict[str, tuple[Tell, Mutation]] = {
    "who wrote does not look again": (
        both_write,
        Mutation(
            channel_module,
            "        while (self.queue or self.rest) and self.begin():\n",
            "        if (self.queue or self.rest) and self.begin():\n",
        ),
    ),
    "the thread does not look again": (
        the_socket_is_full,
        Mutation(
            channel_module,
            "        finally:\n            self.writing.release()\n        self.write()\n",
            "        finally:\n            self.writing.release()\n",
        ),
    ),
}


@pytest.mark.parametrize(("tell", "mutation"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_of_the_argument_is_found(explorer: Explorer, tell: Tell, mutation: Mutation) -> None:
    assert explore(explorer, tell, mutation).wrong is not None
