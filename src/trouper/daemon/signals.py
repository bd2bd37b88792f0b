"""The signals of a daemon that owns its process.

| signal | |
|---|---|
| SIGTERM, SIGINT | the first stops the tree in good order, a second one ends the process at once |
| SIGHUP | a reload |
| SIGUSR1 | what runs now goes to the log |
| SIGUSR2 | nothing by itself |

Each is an event, too: `SignalReceived`.

A handler of signals runs in the main thread, between any two instructions of the control lane: in the middle of a log
record, with the locks of logging held. So it only notes the number and wakes the loop, which is safe there. All that a
signal brings about is an order of the control lane.

One thing must not depend on the control lane: that a second SIGTERM ends the process. The control lane may hang in a
log that nobody reads, or in a listener that blocks; and a signal that the system hands to another thread does not even
wake it. So the interpreter, below all Python code, also writes each number to a socket, and the *ear*, a thread of its
own, reads it. It wakes the loop, as trio would. It gives the control lane a moment to end the process in its own way
when a second one comes, and then does it.

A child that is forked inherits the handlers and the socket, in which its parent would read the child's signals as its
own. So it gets back what was there before `run` before it hears of any: they are blocked while a thread forks, for one
may come before the first line of Python runs in the child.

What is ignored when `run` begins stays ignored, as in every well-bred Unix program: who starts it with `nohup`, or with
`&` in a script, does not want it to hear of its terminal. SIGTERM is always handled.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from contextlib import suppress
from socket import socketpair
from threading import Event, Thread, local
from typing import TYPE_CHECKING, Any, Final

import trio

from trouper.daemon.exits import end_process
from trouper.daemon.report import report
from trouper.events import SignalReceived
from trouper.lanes.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import NoReturn

    from trouper.daemon.daemon import Daemon

log = logging.getLogger("trouper")

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
OTHERS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
MOMENT = 1.0  # seconds for the control lane to answer a second SIGTERM


class Signals:
    """They are handled from before the loop begins until the process ends, so that none becomes a KeyboardInterrupt.

    Args:
        daemon: whom they are for.
        left_alone: those that are for somebody else.
    """

    def __init__(self, daemon: Daemon, left_alone: Collection[int] = ()) -> None:
        self.daemon = daemon
        self.came: deque[int] = deque()
        self.token: trio.lowlevel.TrioToken | None = None
        self.stops = 0  # how often it was told to end, as the ear knows
        self.heeded = 0  # as the main thread knew before its last words
        self.code: int | None = None  # of the process, once it is in its last words
        self.answered = Event()
        self.mouth, self.ear = socketpair()
        self.mouth.settimeout(0)  # a full one must not block the handler
        self.ear.settimeout(None)  # whatever the program has for its own
        self.before: dict[int, Any] = {}
        for number in (*ENDING, *OTHERS):
            if number not in left_alone:
                self.install(number)
        self.forking = local()
        os.register_at_fork(before=self.block, after_in_parent=self.unblock, after_in_child=self.disown)

    def install(self, number: int) -> None:
        before = signal.getsignal(number)
        if before is signal.SIG_IGN and number != signal.SIGTERM:
            log.info("%s is ignored, as it was before", signal.Signals(number).name)
        else:
            self.before[number] = before
            signal.signal(number, self.come)

    def restore(self) -> None:
        """Before the last words: give back the handlers of others. A process that ends has no other use for them.

        What would kill it is ignored from now on, for its exit code is known. `end_process` sees to SIGTERM and SIGINT.
        """
        for number in OTHERS:
            before = self.before.get(number)
            if before is not None:
                signal.signal(number, before if callable(before) else signal.SIG_IGN)

    def end(self, code: int) -> NoReturn:
        """End the process, in the main thread. A signal cuts its last words short."""
        self.code = code
        self.answered.set()
        self.hark()
        self.restore()
        end_process(code)

    # -- in a thread that forks, and in its child ---------------------------------------------------------------------
    def block(self) -> None:
        self.forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*ENDING, *OTHERS))

    def unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.forking.mask)

    def disown(self) -> None:
        """The child has nothing to do with the daemon."""
        signal.set_wakeup_fd(-1)
        for number in (*ENDING, *OTHERS):
            before = self.before.get(number, signal.SIG_IGN)
            signal.signal(number, signal.SIG_DFL if before is None else before)  # None: not set from Python
        self.unblock()

    # -- when they come ----------------------------------------------------------------------------------------------
    def come(self, number: int, _: object) -> None:
        """Called by the interpreter, anywhere in the main thread's code."""
        self.came.append(number)
        self.heeded += number in ENDING
        self.wake()

    def wake(self) -> None:
        if self.token is not None:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self.hand_on, idempotent=True)

    def listen(self) -> None:
        """In the loop, which trio has told to be woken by signals: hear them here from now on, and those that came."""
        self.token = trio.lowlevel.current_trio_token()
        self.stops = sum(number in ENDING for number in self.came)  # before the ear hears any: it must count none twice
        self.hark()
        Thread(target=self.hear, name="trouper signals", daemon=True).start()
        self.hand_on()

    def hark(self) -> None:
        signal.set_wakeup_fd(self.mouth.fileno(), warn_on_full_buffer=False)

    def hear(self) -> None:
        """In a thread of its own: see to it that the loop wakes, and that it cannot keep the process."""
        while True:
            numbers = self.ear.recv(64)
            self.wake()
            for number in numbers:
                if number in ENDING:
                    self.told_to_end(number)

    def told_to_end(self, number: int) -> None:
        self.stops += 1
        if self.code is not None:
            if self.stops > self.heeded:  # else this is what it ends for: it came before, and the ear was slow
                os._exit(self.code & 0xFF)
        elif self.stops > 1:
            self.daemon.control.post(self.cut_short, number)
            if not self.answered.wait(MOMENT):
                os._exit(128 + number)

    # -- in the control lane -----------------------------------------------------------------------------------------
    def hand_on(self) -> None:
        while self.came:
            self.daemon.control.post(self.obey, self.came.popleft())

    def obey(self, number: int) -> None:
        daemon, name = self.daemon, signal.Signals(number).name
        if daemon.world.bus.active:
            daemon.world.bus.publish(SignalReceived(name))
        match number:
            case signal.SIGHUP:
                daemon.reloads.ask(Slot())
            case signal.SIGUSR1:
                report(daemon, name)
            case signal.SIGTERM | signal.SIGINT:
                daemon.begin_stop(name)
            case _:
                """SIGUSR2 is an event and nothing else."""

    def cut_short(self, number: int) -> None:
        name, stack = signal.Signals(number).name, self.daemon.stack()
        log.warning("%s while stopping: ending at once; the stop hung here:\n%s", name, stack)
        self.end(128 + number)
