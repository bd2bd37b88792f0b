"""What a daemon and its worker tell each other arrives whole and in order, and keeps nobody."""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from queue import SimpleQueue
from threading import Event, Thread, get_ident
from typing import Any

import pytest

from trouper.workers import channel as channel_module
from trouper.workers.channel import LENGTH, Channel

PATIENCE = 20.0
MUCH = b"." * (1 << 20)  # more than a socket takes


class Ear:
    """Hears what comes."""

    def __init__(self) -> None:
        self.said: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self.over = Event()

    def listen(self, channel: Channel) -> None:
        channel.open(self.said.put, self.over.set)

    def next(self) -> tuple[Any, ...]:
        return self.said.get(timeout=PATIENCE)


class Teller:
    """It tells which thread makes bytes of it."""

    def __init__(self, told: SimpleQueue[int]) -> None:
        self.told = told

    def __reduce__(self) -> tuple[Any, ...]:
        self.told.put(get_ident())
        return bool, ()


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """Both ends; whoever listens ends, too."""
    ours, theirs = socket.socketpair()
    channels = Channel(ours, "here"), Channel(theirs, "there")
    with closing(ours), closing(theirs):
        yield channels
        for channel in channels:
            channel.close()
        for thread in threads("here", "there"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def threads(*names: str) -> list[Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]


def test_what_many_threads_say_arrives_and_in_the_order_of_each(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    ear = Ear()
    ear.listen(there)

    def speak(me: int) -> None:
        for number in range(50):
            here.send(me, number)

    speakers = [Thread(target=speak, args=(me,)) for me in range(4)]
    for speaker in speakers:
        speaker.start()
    heard = [ear.next() for _ in range(200)]
    for me in range(4):
        assert [number for who, number in heard if who == me] == list(range(50))
    for speaker in speakers:
        speaker.join()


def test_who_speaks_does_not_wait_for_who_does_not_listen(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    for number in range(3):
        here.send(number, MUCH)
    assert not here.flush(0.0)
    ear = Ear()
    ear.listen(there)
    assert [ear.next() for _ in range(3)] == [(number, MUCH) for number in range(3)]
    assert here.flush(PATIENCE)
    here.send("after it")
    assert ear.next() == ("after it",)


def test_what_fits_is_written_when_send_returns_and_needs_no_thread(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    here.send("a word")
    assert not threads("here")
    assert there.receive() == ("a word",)
    assert here.flush(0.0)


def test_what_is_large_is_made_bytes_of_in_another_thread(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    told: SimpleQueue[int] = SimpleQueue()
    here.send(Teller(told))
    assert told.get(timeout=PATIENCE) == get_ident()
    here.send_large(Teller(told))
    assert told.get(timeout=PATIENCE) != get_ident()
    assert [there.receive(), there.receive()] == [(False,), (False,)]


def test_where_the_system_has_no_thread_the_rest_goes_with_the_next_message(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    here, there = pair
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        here.send_large("large")
        here.send("small", MUCH)
        assert not here.flush(0.01)
    assert there.receive() == ("large",)
    here.send("at last")
    assert [there.receive(), there.receive()] == [("small", MUCH), ("at last",)]


def test_at_the_end_of_the_other_process_nothing_is_left_open_and_nobody_fails(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    ear = Ear()
    ear.listen(here)
    there.end.close()
    assert ear.over.wait(PATIENCE)
    assert here.end.fileno() == -1
    here.send("too late")
    here.send_large("too late")
    assert here.flush(PATIENCE)


def test_the_end_of_the_other_process_is_seen_where_somebody_has_inherited_its_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs, subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as other:
        guard = os.pidfd_open(other.pid)
        ear = Ear()
        channel = Channel(ours, "here", guard)
        ear.listen(channel)
        Channel(theirs, "there").send("a word")
        assert ear.next() == ("a word",)
        assert not ear.over.is_set()
        channel.send(MUCH)  # a thread writes it, for ever
        other.kill()
        assert ear.over.wait(PATIENCE)
        os.close(guard)


FORKS = """
import os, socket
from trouper.workers.channel import Channel
ours, theirs = socket.socketpair()
here = Channel(ours, "here")
pid = os.fork()
if pid == 0:
    here.send("of a fork")
    here.send_large("of a fork")
    os._exit(here.flush(600.0))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "it said that it was written"
here.send("a word")
print(Channel(theirs, "there").receive())
"""


def test_a_fork_of_the_process_says_nothing_in_its_name() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORKS], stdout=subprocess.PIPE, timeout=PATIENCE, check=True, text=True
    )
    assert told.stdout == "('a word',)\n"


def test_what_cannot_be_told_is_logged_and_holds_nothing_up(
    pair: tuple[Channel, Channel], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = pair
    ear = Ear()
    ear.listen(there)
    here.send("odd", lambda: None)
    here.send_large("odder", Event())
    here.send("even")
    assert ear.next() == ("even",)
    assert here.flush(PATIENCE)
    assert [record.message for record in caplog.records] == [
        f"{name!r} cannot be told to another process" for name in ("odd", "odder")
    ]


def test_who_speaks_with_no_stack_left_is_told_so_and_nobody_else_is_held_up(pair: tuple[Channel, Channel]) -> None:
    here, there = pair
    ear = Ear()
    ear.listen(there)

    def speak(level: int) -> None:
        here.send(level)
        speak(level + 1)

    with pytest.raises(RecursionError):
        speak(0)
    here.send("over")
    levels = list(iter(ear.next, ("over",)))
    assert levels == [(level,) for level in range(len(levels))]
    assert here.flush(PATIENCE)


def test_a_handler_that_fails_holds_nothing_up(pair: tuple[Channel, Channel]) -> None:
    class Fails(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    here, there = pair
    ear, handler = Ear(), Fails()
    ear.listen(there)
    logger = logging.getLogger("trouper")
    logger.addHandler(handler)
    try:
        here.send("odd", lambda: None)
        here.send("even")
    finally:
        logger.removeHandler(handler)
    assert ear.next() == ("even",)


def test_the_timeout_that_a_program_has_for_its_sockets_is_none_of_a_channels() -> None:
    socket.setdefaulttimeout(0.01)
    try:
        ours, theirs = socket.socketpair()
    finally:
        socket.setdefaulttimeout(None)
    here, there, ear = Channel(ours, "here"), Channel(theirs, "there"), Ear()
    here.send("much", MUCH)
    here.send("more")
    ear.listen(there)
    assert [ear.next(), ear.next()] == [("much", MUCH), ("more",)]
    for channel in (here, there):
        channel.close()
    assert ear.over.wait(PATIENCE)
    ours.close()


def test_where_the_system_has_no_thread_what_the_socket_takes_is_written(
    pair: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    here, there = pair
    monkeypatch.setattr(channel_module, "Thread", refuse)
    for number in range(3):
        here.send_large("pong", number)
        assert there.receive() == ("pong", number)
    here.send("much", MUCH)
    assert not here.flush(0.01)
    monkeypatch.undo()
    ear = Ear()
    ear.listen(there)
    here.send("more")
    assert [ear.next(), ear.next()] == [("much", MUCH), ("more",)]


def test_the_end_of_the_other_process_is_seen_within_a_message() -> None:
    ours, theirs = socket.socketpair()
    other = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    guard = os.pidfd_open(other.pid)
    ear = Ear()
    ear.listen(Channel(ours, "here", guard))
    theirs.send(LENGTH.pack(100) + b"half of it")
    while select.select([ours], [], [], 0)[0]:  # until that is read
        os.sched_yield()
    other.kill()
    assert ear.over.wait(PATIENCE)
    other.communicate()
    theirs.close()
    os.close(guard)
