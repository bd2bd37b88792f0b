"""A request on its way, and the right to answer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from trouper.errors import AlreadyReplied, ReplyDropped, ReplyTypeError, show, type_names
from trouper.lanes.slot import Slot
from trouper.messages import reply_types

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.messages import Request

STASHED = "stashed"

R_contra = TypeVar("R_contra", contravariant=True)


@final
class Ask(Slot[Any]):
    """The envelope of a request: what lies in the mailbox, and where the answer goes.

    The answer finds its way by the envelope, never by comparing requests: two askers may send equal ones, or the same.
    """

    __slots__ = ("asker", "claimed", "request")

    def __init__(self, request: Request[Any], asker: Any = None) -> None:
        super().__init__()
        self.request = request
        self.asker = asker  # the cell whose handler asks, if one does
        self.claimed: object = False  # or True; or STASHED, until the handler that stashed it is done

    def misfit(self, value: object) -> ReplyTypeError | None:
        """The error that says why this is no answer, or None if it is one."""
        types = reply_types(type(self.request))
        if types is None or isinstance(value, types):
            return None
        return ReplyTypeError(self.request, f"given the reply {show(value)}, allowed: {type_names(types)}")


@final
class ReplyTo(Generic[R_contra]):
    """The right to answer one request, once, later and from any thread: `reply_to(value)`.

    If it is dropped without an answer, the ask fails with `ReplyDropped`. The answer to a request that was merely
    sent is dropped; one that comes too late, when the asker has given up, becomes a dead letter.
    """

    __slots__ = ("_ask", "_late", "_used")

    def __init__(self, ask: Ask | None, late: Callable[[Ask, object], object] = lambda *_: None) -> None:
        self._ask = ask
        self._late = late
        self._used = False

    def __call__(self, value: R_contra, /) -> None:
        """Answer.

        Args:
            value: of the reply type of the request.

        Raises:
            ReplyTypeError: it is not. The ask fails with the same error.
            AlreadyReplied: this is the second answer.
        """
        ask = self._ask
        if ask is None:
            return
        if self._used:
            raise AlreadyReplied(f"{show(ask.request)} was answered before; given {show(value)} now")
        if (misfit := ask.misfit(value)) is not None:
            ask.fail(misfit)
            raise misfit
        self._used = True
        if not ask.put(value):
            self._late(ask, value)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, which the asker's `ask` raises."""
        if self._ask is not None:
            self._ask.fail(error)

    def __del__(self) -> None:
        ask = getattr(self, "_ask", None)
        if ask is not None and not ask.done:
            ask.fail(ReplyDropped(ask.request))
