"""An address that means all workers: which of them has the next message, and how to reach one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from trouper.actors.router import Router
from trouper.errors import UsageError, type_name

if TYPE_CHECKING:
    from trouper.actors.ref import Ref

M_contra = TypeVar("M_contra", contravariant=True)


class Copies(Router[M_contra], Generic[M_contra]):
    """The address of an actor in a `process`, from outside of it: a `Router` over its copies in all workers.

    The `.ref` of a child in the subtree becomes one; `Process.copies` has the type checkers know.
    """

    __slots__ = ()

    def worker(self, number: int) -> Ref[M_contra]:
        """The copy in one of the workers.

        Args:
            number: its `worker_id`: 0 for the first, as in its path.

        Raises:
            UsageError: there is no such worker.
        """
        workers = self.routes.workers
        if not isinstance(number, int) or not 0 <= number < len(workers):
            allowed = f"a number from 0 to {len(workers) - 1}" if workers else "none, for it has no worker"
            raise UsageError(f"{self!r}: given worker {number!r}, allowed: {allowed}")
        return workers[number]

    def __repr__(self) -> str:
        return f"<Copies of {type_name(self.definition.cls)}: {self.path}, in {self.size} workers>"
