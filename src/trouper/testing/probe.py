"""A probe: the address of the test itself, with what came there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final, overload

from trouper.actors.ask import Ask, ReplyTo
from trouper.actors.cell import Cell
from trouper.actors.definition import actor
from trouper.errors import UsageError, show, type_names
from trouper.mailbox.mailbox import Mailbox
from trouper.reasons import NORMAL
from trouper.supervision.spec import child
from trouper.testing.errors import TrialError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.ref import Ref
    from trouper.messages import Request
    from trouper.reasons import Reason
    from trouper.supervision.spec import Child
    from trouper.supervision.supervisor import Branch

M = TypeVar("M")
N = TypeVar("N")
R = TypeVar("R")


class Silent:
    """What stands behind the ref of a probe; no daemon runs it, so its mailbox keeps what comes."""

    def receive(self, message: Any) -> None: ...


@final
class Probe(Generic[M]):
    """A ref for tests. What is sent to `probe.ref` waits until the test looks at it, in the order in which it came.

    Args:
        types: the messages that it takes; none given: all. A message of another type raises in its sender.

    A probe whose ref stands in the arguments of a tree is given to the trial: `Trial(tree, probes=[probe])`. One that
    is made later comes from `t.probe(...)`.

    Example:
        ```python
        probe = Probe(Alarm)
        with Trial(child(Watcher, probe.ref), probes=[probe]) as t:
            assert probe.expect(Alarm, within=60).name == "load"
        ```
    """

    def __init__(self, *types: type[M]) -> None:
        self._types = types
        cls: Any = actor(flavour="trio", accepts=types or Any)(type("Probe", (Silent,), {"receive": Silent.receive}))
        self._child: Child[M] = child(cls).options(mailbox=Mailbox(capacity=None))
        self.ref: Ref[M] = self._child.ref
        self.messages: list[M] = []
        """All that came and was looked at so far, in order."""
        self._asks: list[Ask] = []
        self._go: Callable[[float, Callable[[], object]], object] | None = None
        self._root: Branch | None = None

    @overload
    def expect(self, wanted: type[N], *, within: float = 0.0) -> N: ...
    @overload
    def expect(self, wanted: N, *, within: float = 0.0) -> N: ...
    def expect(self, wanted: Any, *, within: float = 0.0) -> Any:
        """Take the next message, which must be as wanted.

        Args:
            wanted: a class, or a message that it must be equal to.
            within: virtual seconds to wait for it.

        Returns:
            The message.

        Raises:
            TrialError: another message is the next, or none came in time.
        """
        if not self._wait(lambda: self.ref.box, within):
            raise TrialError(f"no message came within {within:g} s; expected {self._told(wanted)}{self._before()}")
        message = self._take()
        if not (isinstance(message, wanted) if isinstance(wanted, type) else message == wanted):
            raise TrialError(f"{show(message)} came; expected {self._told(wanted)}{self._before()}")
        return message

    def expect_none(self, *, within: float = 0.0) -> None:
        """Make sure that no message is there or comes.

        Args:
            within: virtual seconds, all of which pass if none comes.

        Raises:
            TrialError: one came.
        """
        if self._wait(lambda: self.ref.box, within):
            raise TrialError(f"{show(self._take())} came; expected none{self._before()}")

    def fish(self, wanted: Callable[[M], object], *, within: float = 0.0) -> M:
        """Take messages until one is as wanted; the others are passed over, and stay in `messages`.

        Args:
            wanted: tells whether this is the one.
            within: virtual seconds to wait for it.

        Returns:
            The message.

        Raises:
            TrialError: none such came in time.
        """
        found: list[M] = []

        def look() -> bool:
            while self.ref.box and not found:
                message = self._take()
                if wanted(message):
                    found.append(message)
            return bool(found)

        if not self._wait(look, within):
            raise TrialError(f"no such message came within {within:g} s{self._before()}")
        return found[0]

    def reply(self, request: Request[R], value: R) -> None:
        """Answer a request that was taken before.

        Args:
            request: the very object.
            value: the reply.

        Raises:
            UsageError: nobody asked it, or it was answered.
            ReplyTypeError: the value is no reply to it; the asker gets the same error.
        """
        self.reply_to(request)(value)

    def reply_to(self, request: Request[R]) -> ReplyTo[R]:
        """The right to answer a request that was taken before, once.

        Args:
            request: the very object.

        Raises:
            UsageError: nobody asked it, or the right was taken before.
        """
        for place, ask in enumerate(self._asks):
            if ask.request is request:
                del self._asks[place]
                return ReplyTo(ask)
        raise UsageError(
            f"given {show(request)} to reply to, allowed: a request that was asked, taken, and not answered"
        )

    def end(self, reason: Reason = NORMAL) -> None:
        """Have the actor that the ref stands for end for good; until then it may be watched, and does not end.

        Who watches is told. What was not looked at yet and what comes later are dead letters, and asks fail at once.

        Args:
            reason: why it ended.

        Raises:
            UsageError: the probe knows no trial.
        """
        if self._root is None:
            raise UsageError(
                "a probe was to end, and knows no trial; allowed: Trial(tree, probes=[probe]), or t.probe(...)"
            )
        if self.ref.cell is None:
            cell = Cell(self._root.world, self._root, "probe", self._child)
            cell.reason = reason
            cell.close(reason.cause)

    def _take(self) -> M:
        item = self.ref.box.popleft()
        if isinstance(item, Ask):
            self._asks.append(item)
            item = item.request
        message = cast("M", item)
        self.messages.append(message)
        return message

    def _wait(self, done: Callable[[], object], within: float) -> bool:
        if self._go is not None:
            return bool(self._go(within, done))
        if within and not done():
            raise UsageError(
                "a probe was to wait, and knows no trial; allowed: Trial(tree, probes=[probe]), or t.probe(...)"
            )
        return bool(done())

    def _told(self, wanted: object) -> str:
        return type_names((wanted,)) if isinstance(wanted, type) else show(wanted)

    def _before(self) -> str:
        return f"; so far came: {', '.join(map(show, self.messages))}" if self.messages else "; nothing came so far"
