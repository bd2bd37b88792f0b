"""What runs now, for the log: the tree, what each lane does, and where suspended handlers wait.

It depends on nobody's answer. The tree is read in the control lane; the stacks are read, and all is written, in a
thread of its own, which a lane that is blocked or a log that is slow may hold up for as long as it likes.
"""

from __future__ import annotations

import logging
import threading
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any

from trouper.actors.cell import Cell
from trouper.daemon.watchdog import held_up_by, request_in
from trouper.errors import show
from trouper.lanes.stacks import coroutine_stack, thread_stack
from trouper.lanes.thread_lane import ThreadLane
from trouper.supervision.node import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trouper.daemon.daemon import Daemon
    from trouper.lanes.lane import Lane
    from trouper.supervision.snapshot import Snapshot

log = logging.getLogger("trouper")

PLACES = 1000  # of the tree, and suspended handlers, that are told; of the rest only how many there are
NAMES = 10  # of those that wait in the same place
NAME = "trouper report"


def report(daemon: Daemon, why: str) -> None:
    """In the control lane: write what runs to the log, here and in worker processes, unless that is under way here."""
    if all(thread.name != NAME for thread in threading.enumerate()):
        tree = daemon._whole()
        for node, _ in daemon.places():
            if isinstance(node, Elsewhere):
                node.ask("report", why)
        try:
            Thread(target=write, args=(daemon, why, tree), name=NAME, daemon=True).start()
        except RuntimeError as error:  # the system has none; what runs is not worth the daemon
            log.warning("%s: no report of what runs: %s", why, error)


def write(daemon: Daemon, why: str, tree: Snapshot) -> None:
    log.warning("%s: the tree:\n%s", why, "\n".join(some(tree.lines(), "places")))
    for text in stacks(daemon):
        log.warning("%s: %s", why, text)


def stacks(daemon: Daemon) -> Iterator[str]:
    """What each lane of a loop, and each other thread, does; in any thread."""
    lanes: list[Lane] = list(daemon.loops.values())
    threads = {thread.ident: thread.name for thread in threading.enumerate() if thread.name != NAME}
    threads.pop(daemon.control.ident, None)  # it turns, or nobody would have asked for this
    actors = [node for node, _ in daemon.places() if isinstance(node, Cell)]
    payloads = daemon.errands()
    for lane in lanes:
        path, message = held_up_by(lane.ident)
        here: list[Any] = [cell for cell in actors if cell.ref.lane is lane]
        here += [errand for errand in payloads if errand.lane is lane]
        waiting = grouped(
            (named(at_work.path, at_work.message), coroutine_stack(activity.coro))
            for at_work in here
            if (activity := at_work.activity) is not None
        )
        threads.pop(lane.ident, None)
        yield "\n".join([f"the {lane.name} lane{at(path, message)}:\n{thread_stack(lane.ident)}", *waiting])
    for cell in actors:
        if cell.threaded and cell.generation:
            name_thread(threads, cell.ref.lane, named(cell.path, cell.message))
    for errand in payloads:
        name_thread(threads, errand.lane, errand.path)
    yield "\n".join(
        ["the other threads:", *grouped((name, thread_stack(ident or 0)) for ident, name in threads.items())]
    )


def name_thread(threads: dict[int | None, str], lane: Any, name: str) -> None:
    """Say what the thread of a lane does; once it has ended, the system gives its ident to another."""
    if isinstance(lane, ThreadLane) and lane.ident in threads and lane.thread.is_alive():
        threads[lane.ident] = name


def at(path: str | None, message: Any) -> str:
    return "" if path is None else f" in {named(path, message)}"


def named(path: str, message: Any) -> str:
    return path if message is None else f"{path} over {show(request_in(message))}"


def grouped(found: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Those that are in the same place together, with the stack of one of them."""
    groups: dict[str, list[str]] = {}
    for name, stack in islice(found, PLACES):
        groups.setdefault(stack, []).append(name)
    for stack, names in groups.items():
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        yield f"{', '.join(names[:NAMES])}{more}:\n{stack}"


def some(lines: Iterator[str], what: str) -> Iterator[str]:
    yield from islice(lines, PLACES)
    left = sum(1 for _ in lines)
    if left:
        yield f"... and {left} {what} more"
