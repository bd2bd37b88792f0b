"""All private names of trio and asyncio that stepping their loops by hand needs, in one place.

`tests/testing/test_privates.py` checks each of them. All else is public: trio's guest mode, an asyncio loop whose
`run_forever` was stopped beforehand and so runs once.
"""

from __future__ import annotations

import asyncio
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sniffio
import trio._core._run as trio_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random


@contextmanager
def no_loop() -> Iterator[None]:
    """Within it this thread runs no event loop, whatever it did before; as before after it."""
    context = trio_run.GLOBAL_RUN_CONTEXT.__dict__
    run, loop, library = dict(context), asyncio._get_running_loop(), sniffio.thread_local.name
    hooks = sys.get_asyncgen_hooks()
    context.clear()
    asyncio._set_running_loop(None)
    sniffio.thread_local.name = None
    sys.set_asyncgen_hooks(None, None)
    try:
        yield
    finally:
        context.clear()
        context.update(run)
        asyncio._set_running_loop(loop)
        sniffio.thread_local.name = library
        sys.set_asyncgen_hooks(*hooks)


class RunContext:
    """What a thread has while it is in one trio run, kept between the steps of it.

    Args:
        random: decides in which order tasks run that could run at once; trio leaves it to chance.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.kept: dict[str, Any] = {}
        self.hooks: tuple[Any, Any] = (None, None)

    @contextmanager
    def entered(self) -> Iterator[None]:
        context, core = trio_run.GLOBAL_RUN_CONTEXT.__dict__, trio_run.__dict__
        with no_loop():
            chance = core["_ALLOW_DETERMINISTIC_SCHEDULING"], core["_r"]
            context.update(self.kept)
            sys.set_asyncgen_hooks(*self.hooks)
            core["_ALLOW_DETERMINISTIC_SCHEDULING"], core["_r"] = True, self.random
            try:
                yield
            finally:
                core["_ALLOW_DETERMINISTIC_SCHEDULING"], core["_r"] = chance
                self.kept = dict(context)
                hooks = sys.get_asyncgen_hooks()
                self.hooks = hooks.firstiter, hooks.finalizer


def asyncio_due(loop: asyncio.AbstractEventLoop) -> float:
    """When the first timer of a loop is due, or infinity."""
    return min((timer.when() for timer in asyncio_timers(loop)), default=math.inf)


def asyncio_timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """The timers of a loop that are to come, in no order."""
    return [timer for timer in vars(loop)["_scheduled"] if not timer.cancelled()]


def asyncio_has_work(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop has something to run now; and from here on a timer runs when it is due, not a little before."""
    inside = vars(loop)
    now = loop.time()
    inside["_clock_resolution"] = math.ulp(now)
    return bool(inside["_ready"] or asyncio_due(loop) <= now or inside["_selector"].select(0))
