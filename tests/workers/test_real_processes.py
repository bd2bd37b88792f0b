"""What holds between two daemons holds between two processes, also when one is killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.workers.couple import PATIENCE, Heard, local_of, run
from tests.workers.program import Block, Note, Notes, Pid, Read, Speaker
from trouper import ActorRestarted, Daemon, LinkLost, Lost, one_for_one, open_daemon
from trouper.actors.definition import definition_of
from trouper.lanes.slot import Slot
from trouper.workers.link import Wire
from trouper.workers.peer import Office, Peer

PROGRAM = Path(__file__).parent / "program.py"


@attrs.define
class Parent:
    """One worker after the other behind the same addresses."""

    daemon: Daemon
    wire: Wire = attrs.field(factory=Wire)
    lost: Slot[BaseException | None] = attrs.field(factory=Slot)
    workers: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    peer: Peer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        office = Office(local_of(self.daemon))
        self.peer = Peer(
            "/worker",
            self.daemon.world,
            self.wire,
            find=office.find,
            local=office.local,
            on_lost=self.ended,
        )
        office.peers["/worker"] = self.peer
        self.wire.start()

    def start(self) -> None:
        self.lost = Slot()
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, str(PROGRAM), str(theirs.fileno())]
            self.workers.append(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        self.peer.attach(ours)

    def ended(self, error: BaseException | None) -> None:
        self.lost.put(error)

    async def kill(self) -> None:
        self.workers[-1].send_signal(signal.SIGKILL)
        with trio.fail_after(PATIENCE):
            await self.lost.wait()

    def close(self) -> None:
        self.wire.close()
        self.wire.thread.join(PATIENCE)
        for worker in self.workers:
            assert worker.wait(PATIENCE) in (0, -signal.SIGKILL)  # its socket ended, and so it did


def test_a_worker_that_is_killed_fails_its_asks_and_its_successor_gets_what_waited() -> None:
    async def body() -> None:
        async with open_daemon(one_for_one()) as daemon:
            parent, heard = Parent(daemon), Heard(daemon, Lost)
            try:
                notes: Any = parent.peer.ref("/worker/notes", definition_of(Notes))
                speaker: Any = parent.peer.ref("/worker/speaker", definition_of(Speaker))
                parent.start()
                pid = await speaker.ask(Pid(), timeout=PATIENCE)
                assert pid == parent.workers[0].pid == await notes.ask(Pid())
                for number in range(5000):
                    notes.send(Note(number))
                assert await notes.ask(Read()) == list(range(5000))
                while parent.peer.unacknowledged:
                    await trio.lowlevel.checkpoint()
                notes.send(Block())  # from here on nothing is taken
                for number in range(20):
                    notes.send(Note(number))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kill_once_sent, parent, 5025)
                    with pytest.raises(ActorRestarted) as caught:
                        await notes.ask(Read(), timeout=None)
                assert isinstance(caught.value.__cause__, LinkLost)
                assert heard.events == [Lost("/worker", 5026, 22)]
                notes.send(Note(7))
                parent.start()
                assert await notes.ask(Read(), timeout=PATIENCE) == [7]
                assert await speaker.ask(Pid()) == parent.workers[1].pid != pid
            finally:
                parent.close()

    run(body)


async def kill_once_sent(parent: Parent, count: int) -> None:
    while parent.peer.sent < count:
        await trio.lowlevel.checkpoint()
    assert await parent.peer.cells["/worker/speaker"].ref.ask(Pid()) == parent.workers[0].pid  # others are not held up
    await parent.kill()


def test_threads_of_this_process_ask_a_thread_of_that_one_without_another_between() -> None:
    async def body() -> None:
        async with open_daemon(one_for_one()) as daemon:
            parent = Parent(daemon)
            try:
                notes: Any = parent.peer.ref("/worker/notes", definition_of(Notes))
                parent.start()

                def ask_many() -> None:
                    for _ in range(300):
                        assert notes.ask_sync(Pid(), timeout=PATIENCE) == parent.workers[0].pid

                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(trio.to_thread.run_sync, ask_many)
                assert parent.peer.sent == 900
            finally:
                parent.close()

    run(body)
