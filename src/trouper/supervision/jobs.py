"""One job at a time, as a `gen_server` handles one message at a time.

A job is a generator: code that reads from top to bottom, and waits for an answer from outside by a bare `yield`. So a
rule such as "stop these, then start those, and if one fails do that" stands there as it is said, and not as a table of
half-done states. While one job waits for its answer, all others wait for their turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")


@final
class Jobs(Generic[T]):
    """The job that runs, and those that wait; `T` is what a job can be told.

    Args:
        first: a job that everything else waits for; it begins with the first `go_on`.
    """

    __slots__ = ("_job", "_queue")

    def __init__(self, first: Generator[None, T | None, None]) -> None:
        self._job: Generator[None, T | None, None] | None = first
        self._queue: deque[Generator[None, T | None, None]] = deque()

    def submit(self, job: Generator[None, T | None, None]) -> None:
        """Run this job when those before it are done."""
        if self._job is not None:
            self._queue.append(job)
        else:
            self._job = job
            self.go_on()

    def go_on(self, told: T | None = None) -> None:
        """Tell the job what it waits for, and run until one must wait again."""
        while self._job is not None:
            try:
                self._job.send(told)
            except StopIteration:
                self._job, told = self._queue.popleft() if self._queue else None, None
            else:
                return

    def drop_queued(self) -> None:
        """Forget the jobs that have not begun."""
        self._queue.clear()

    def preempt(self, job: Generator[None, T | None, None]) -> None:
        """Run this job now; the one that runs is given up where it waits."""
        self._job = job
        self.go_on()
