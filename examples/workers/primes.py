"""Counting primes keeps a processor busy: threads would share one interpreter lock, processes do not.

`python examples/workers/primes.py` counts with one worker, then with one for each core, and says how much faster that
was.
"""

from __future__ import annotations

import itertools
import os
import time

import trio

from trouper import Ref, Request, actor, child, one_for_one, open_daemon, process

UP_TO = 600_000
SHARES = 24


class Count(Request[int]):
    """Count the primes from `first` to less than `last`."""

    first: int
    last: int


@actor(flavour="threading")
class Counter:
    def receive(self, message: Count) -> int:
        return sum(map(is_prime, range(message.first | 1, message.last, 2)))


@actor(flavour="trio")
class Sharer:
    """It divides the work, and hands each share to the worker whose turn it is."""

    counter: Ref[Count]

    async def receive(self, message: Count) -> int:
        found: list[int] = []

        async def ask(first: int, last: int) -> None:
            found.append(await self.counter.ask(Count(first, last), timeout=None))

        edges = [message.first + (message.last - message.first) * share // SHARES for share in range(SHARES + 1)]
        async with trio.open_nursery() as nursery:
            for first, last in itertools.pairwise(edges):
                nursery.start_soon(ask, first, last)
        return sum(found)


def is_prime(number: int) -> bool:
    """Of odd numbers from 3 on."""
    return all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))


async def measure(workers: int, up_to: int) -> float:
    """Count, and return the seconds that it took once the workers were up."""
    counter = child(Counter)
    sharer = child(Sharer, counter.ref)
    async with open_daemon(one_for_one(process(counter, workers=workers, name="cores"), sharer)):
        begin = time.perf_counter()
        found = await sharer.ref.ask(Count(3, up_to), timeout=None)
        seconds = time.perf_counter() - begin
    print(f"{workers} workers: {found + 1} primes below {up_to} in {seconds:.2f} s")
    return seconds


async def main(up_to: int = UP_TO) -> None:
    """Compare one worker with one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0))
    alone = await measure(1, up_to)
    print(f"speed-up on {cores} cores: {alone / await measure(cores, up_to):.2f}")


if __name__ == "__main__":
    trio.run(main)
