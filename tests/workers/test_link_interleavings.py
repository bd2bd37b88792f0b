"""The arguments in `link.py` and `remote.py` hold however two threads interleave, and each part of them is needed.

A message that is sent is written, whoever writes: no thread leaves it to another that has just looked away.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from select import EPOLLOUT
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.lanes.explorer import LANE, Explorer, Findings, Mutation, Story, Token, TokenLock, compiled
from trouper import Mailbox, Message, actor
from trouper.actors.definition import definition_of
from trouper.workers import link as link_module
from trouper.workers import remote as remote_module
from trouper.workers.codec import MailboxTypes
from trouper.workers.frames import SEND, Decoder

pytestmark = pytest.mark.once

Code = dict[str, dict[str, Any]]
Tell = Callable[[Code, Token], Story]


class Note(Message):
    number: int


@actor(flavour="trio")
class Listener:
    def receive(self, message: Note) -> None: ...


DEFINITION = definition_of(Listener)
LONG = bool(os.environ.get("TROUPER_LONG"))
TYPES = MailboxTypes(DEFINITION, "/listener")


class TryLock(TokenLock):
    """One that can be tried."""

    def acquire(self, *, blocking: bool = True) -> bool:
        assert not blocking
        if self.held:
            return False
        self.held = True
        return True

    def release(self) -> None:
        self.held = False


class Socket:
    """Takes so many bytes, and no more until it is emptied."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = b""

    def send(self, out: bytearray) -> int:
        count = min(self.room, len(out))
        if not count:
            raise BlockingIOError
        self.room -= count
        self.data += bytes(out[:count])
        return count

    def settimeout(self, seconds: float) -> None: ...


class Stage:
    """A link and a ref beyond it; the first thread is the wire's, too: it flushes when it is asked to."""

    def __init__(self, code: Code, token: Token, *, capacity: int = 100, room: int = 1 << 20) -> None:
        self.token = token
        code["link"]["Lock"] = code["remote"]["Lock"] = lambda: TryLock(token)
        self.wakes: deque[Any] = deque()
        self.waits = False
        wire: Any = SimpleNamespace(wake=self.wakes.append, watch=self.watch)
        self.socket: Any = Socket(room)
        self.link = code["link"]["Link"](self.socket, wire, lambda _: None, lambda *_: None)
        self.link.frames.clear()
        peer: Any = SimpleNamespace(world=None, link=self.link, wire=wire, open=lambda _: 1)
        cell = code["remote"]["RemoteCell"](peer, "/listener", TYPES, DEFINITION, Mailbox(capacity))
        cell.channel = 1
        self.cell, self.ref = cell, cell.ref
        self.ref.lane = self.link
        self.ref.make_box()
        self.ref.queued = False

    def watch(self, _: object, events: int) -> None:
        self.waits = bool(events & EPOLLOUT)

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.ref.send(Note(number))

    def send_and_flush(self, *numbers: int) -> None:
        self.send(*numbers)
        self.link.flush()

    def be_the_wire(self) -> None:
        """Until there is nothing more to do and the other thread is over."""
        while self.token.wait_until(LANE, lambda: self.wakes or self.waits):
            if self.waits:
                self.socket.room = 1 << 20
                self.link.heard(EPOLLOUT)
            else:
                self.wakes.popleft().flush()

    def give_back(self) -> None:
        assert self.cell.taken(1)
        self.link.flush()

    def outcome(self) -> list[int]:
        """What was written; what lies about unwritten is not there."""
        return sorted(
            note["number"]
            for kind, _, _, body in Decoder().feed(self.socket.data)
            if kind == SEND
            for note in msgspec.msgpack.decode(body)
        )


def sending_while_the_wire_writes(code: Code, token: Token) -> Story:
    """Each message finds the wire before, within or after its write."""
    stage = Stage(code, token)
    return Story(stage.be_the_wire, lambda: stage.send(1, 2), stage.outcome)


def both_write(code: Code, token: Token) -> Story:
    """Two threads send and write: one finds the other at it."""
    stage = Stage(code, token)

    def first() -> None:
        stage.send_and_flush(1)
        stage.be_the_wire()

    return Story(first, lambda: stage.send_and_flush(2, 3), stage.outcome)


def credit_comes_back(code: Code, token: Token) -> Story:
    """There is no credit when it is sent, or just before, or just after."""
    stage = Stage(code, token, capacity=2)
    stage.cell.credit.window = 1
    stage.cell.credit.sent = 1

    def first() -> None:
        stage.give_back()
        stage.be_the_wire()

    return Story(first, lambda: stage.send_and_flush(1), stage.outcome)


def the_socket_is_full(code: Code, token: Token) -> Story:
    """It takes only a part, and the rest when it has been emptied, while more is sent."""
    stage = Stage(code, token, room=20)
    return Story(stage.be_the_wire, lambda: stage.send_and_flush(1, 2), stage.outcome)


STORIES: dict[Tell, tuple[list[int], int]] = {  # what is written in the end, and the stride
    sending_while_the_wire_writes: ([1, 2], 2),
    both_write: ([1, 2, 3], 50),
    credit_comes_back: ([1], 12),
    the_socket_is_full: ([1, 2], 50),
}


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    logging.getLogger("trouper").setLevel(logging.CRITICAL)
    explorer = Explorer()
    yield explorer
    explorer.close()
    logging.getLogger("trouper").setLevel(logging.NOTSET)


def explore(explorer: Explorer, tell: Tell, *mutations: Mutation) -> Findings:
    code = {
        "link": compiled(link_module, *mutations),
        "remote": compiled(remote_module, *mutations),
    }
    expected, stride = STORIES[tell]
    return explorer.explore(lambda token: tell(code, token), expected, switches=2, stride=1 if LONG else stride)


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_whatever_is_sent_is_written_however_two_threads_interleave(explorer: Explorer, tell: Tell) -> None:
    found = explore(explorer, tell)
    assert found.wrong is None
    assert found.schedules > 100


MUTANTS: dict[str, tuple[Tell, tuple[Mutation, ...]]] = {
    "the mark is cleared after the last look": (
        sending_while_the_wire_writes,
        (
            Mutation(
                remote_module,
                "            self.queued = False  # before the last look\n"
                "            if not box:\n"
                "                break\n",
                "            if not box:\n                self.queued = False\n                break\n",
            ),
        ),
    ),
    "who wrote does not look again": (
        both_write,
        (
            Mutation(
                link_module,
                "        while (self.frames or self.dirty or self.out) and not self.blocked:\n",
                "        if (self.frames or self.dirty or self.out) and not self.blocked:\n",
            ),
        ),
    ),
    "who finds no credit does not look again": (
        credit_comes_back,
        (
            Mutation(
                remote_module,
                "                cell.starved = True\n                if credit.left <= 0:\n                    break\n"
                "                cell.starved = False\n",
                "                cell.starved = True\n                break\n",
            ),
        ),
    ),
    "who gives credit back looks before": (
        credit_comes_back,
        (
            Mutation(
                remote_module,
                "        if not self.credit.give_back(count):\n            return False\n",
                "        starved = self.starved\n"
                "        if not self.credit.give_back(count):\n"
                "            return False\n",
            ),
            Mutation(
                remote_module,
                "        if self.starved:\n            self.starved = False\n            ref.lane",
                "        if starved:\n            self.starved = False\n            ref.lane",
            ),
        ),
    ),
    "the link is unblocked after the write": (
        the_socket_is_full,
        (
            Mutation(
                link_module,
                "            self.blocked = False\n            self.flush()\n",
                "            self.flush()\n            self.blocked = False\n",
            ),
        ),
    ),
}


@pytest.mark.parametrize(("tell", "mutations"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_of_the_arguments_is_found(explorer: Explorer, tell: Tell, mutations: tuple[Mutation, ...]) -> None:
    assert explore(explorer, tell, *mutations).wrong is not None
