"""Every error of the package.

```
TrouperError(Exception)
 +- DefinitionError (TypeError)             an `@actor` class is wrong
 +- SpecError (ValueError)                  a child, a supervisor, an option or a tree is wrong
 |   +- DuplicateChild                      a child stands in two places
 +- UsageError (RuntimeError)               a right call at a wrong moment or place
 |   +- NotRunning                          no daemon runs this actor (any more)
 |   +- WouldBlockLane                      a `*_sync` call on the thread of an event loop
 |   +- SelfAsk                             an actor asks itself
 |   +- AlreadyReplied                      a second answer to one request
 |   +- UnknownPath (LookupError)           no such place in the tree
 |   +- NameTaken                           a name is another actor's
 +- MessageTypeError (TypeError)            the mailbox does not take this message
 +- CannotTravel (TypeError)                a message, or its reply, cannot go to another process
 +- SchemaMismatch                          two processes do not agree on the types of a mailbox
 +- MailboxFull                             the mailbox is full and rejects
 +- StashFull                               an actor keeps more for later than its mailbox allows
 +- AskError                                an ask has no answer
 |   +- AskTimeout (TimeoutError)           ... in time
 |   +- ActorRestarted                      ... because the actor crashed over the request
 |   +- ActorStopped                        ... because the actor is gone
 |   +- ReplyTypeError (TypeError)          ... of the promised type
 |   +- ReplyDropped                        ... because the handler let go of it
 +- CallError                               a payload that was called has no result
 |   +- CallTimeout (TimeoutError)          ... in time
 |   +- DaemonStopped                       ... because its daemon has ended
 |   +- HookTimeout (TimeoutError)          ... in the time that its step waits for it
 +- Failure                                 something in the tree failed
 |   +- StartFailed, StartTimeout, NotReady while it started
 |   +- ReloadTimeout                       while it reloaded
 |   +- StopTimeout, Unkillable             while it stopped
 |   +- RestartLimitExceeded                more often than allowed
 |   +- LeakedScope, StrayCancellation      it broke the rules of its lane
 |   +- LaneBroken                          the lane itself
 |   +- OrphanedReturn                      an adopted payload returned what nobody receives
 |   +- WorkerDied                          a worker process
 |   +- LinkLost                            the process at the other end is gone
 +- FrameError                              what comes from another process is no stream of frames
 +- RemoteError                             what an actor in another process raised
 +- DaemonFailed                            the embedded daemon failed
 +- Shutdown, Declined                      raised by actors, to say something
Stopping(BaseException)                     a blocking call in a threading actor that shall stop
```

The arguments of an error are its `args`, so that errors can be pickled and copied; the text is put together when it is
asked for.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class TrouperError(Exception):
    """The root of all errors of this package, except `Stopping`."""


# -- what was written is wrong -----------------------------------------------------------------------------------------


class DefinitionError(TrouperError, TypeError):
    """The author of an `@actor` class made a mistake.

    Args:
        where: the dotted name of what is wrong, `module.Class.attribute`.
        found: what is there, in words.
        allowed: what may be there, in words.
    """

    def __init__(self, where: str, found: str, allowed: str) -> None:
        super().__init__(where, found, allowed)
        self.where = where
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}, allowed: {self.allowed}"


class SpecError(TrouperError, ValueError):
    """Who wrote a child, a supervisor, an option or a tree made a mistake.

    Args:
        path: the path in the tree, or, before the tree is known, the call (`child(Web)`, `Limit`).
        field: the name of the wrong field.
        given: the value found there.
        allowed: the values that may stand there, in words.
    """

    def __init__(self, path: str, field: str, given: object, allowed: str) -> None:
        super().__init__(path, field, given, allowed)
        self.path = path
        self.field = field
        self.given = given
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: given {show(self.given)}, allowed: {self.allowed}"


class DuplicateChild(SpecError):
    """One child (or one supervisor) stands in two places; the fault of who wrote the tree."""


# -- used wrongly ------------------------------------------------------------------------------------------------------


class UsageError(TrouperError, RuntimeError):
    """A call at the wrong moment or in the wrong place; the fault of the caller. The text says what to do instead."""


class NotRunning(UsageError):
    """The caller needs an actor that a daemon runs, and has none, or one of a generation that is over."""


class WouldBlockLane(UsageError):
    """The caller used a blocking `*_sync` call on the thread of an event loop, where it would stop everybody."""


class SelfAsk(UsageError):
    """A handler asked its own actor, which cannot answer before the handler is done."""


class AlreadyReplied(UsageError):
    """A handler answered the same request twice."""


class UnknownPath(UsageError, LookupError):
    """The caller named a place that the tree does not have."""


class NameTaken(UsageError):
    """The caller gave an actor a name that another one has; names are unique in a daemon."""


# -- sending and asking ------------------------------------------------------------------------------------------------


class MessageTypeError(TrouperError, TypeError):
    """The sender passed a message that the mailbox of `ref` does not take.

    Args:
        message: the refused message.
        ref: the actor it was for.
        allowed: the types in its mailbox.
    """

    def __init__(self, message: object, ref: object, allowed: Iterable[type]) -> None:
        allowed = tuple(allowed)
        super().__init__(message, ref, allowed)
        self.message = message
        self.ref = ref
        self.allowed = allowed

    def __str__(self) -> str:
        given = f"given {show(self.message)} (a {type_name(type(self.message))})"
        return f"{self.ref}: {given}, allowed: {type_names(self.allowed)}"


class MailboxFull(TrouperError):
    """The mailbox of `ref` has the policy `reject` and no room; nobody's fault, the sender decides what to do.

    Args:
        message: the refused message.
        ref: the actor it was for.
        capacity: how many messages wait there.
    """

    def __init__(self, message: object, ref: object, capacity: int) -> None:
        super().__init__(message, ref, capacity)
        self.message = message
        self.ref = ref
        self.capacity = capacity

    def __str__(self) -> str:
        return (
            f"{self.ref}: given {show(self.message)}, but {self.capacity} messages wait already and its mailbox rejects"
            f" more; wait for room with `offer`, or choose another `overflow`"
        )


class CannotTravel(TrouperError, TypeError):
    """The sender passed a value that no other process can be given; the text says which, and why.

    Args:
        message: what it was about.
        where: the actor it was for.
        why: in words.
    """

    def __init__(self, message: object, where: object, why: str) -> None:
        super().__init__(message, where, why)
        self.message = message
        self.where = where
        self.why = why

    def __str__(self) -> str:
        return f"{self.where}: {show(self.message)} cannot travel to another process: {self.why}"


class SchemaMismatch(TrouperError):
    """Two processes run different code, and do not agree on the types of the mailbox at `path`; nothing is delivered.

    Args:
        path: the actor.
        sent: the types of the sender, in words, with their fingerprint.
        taken: those of the receiver.
    """

    def __init__(self, path: str, sent: str, taken: str) -> None:
        super().__init__(path, sent, taken)
        self.path = path
        self.sent = sent
        self.taken = taken

    def __str__(self) -> str:
        return f"{self.path}: the sender knows its mailbox as {self.sent}, and it is {self.taken}"


class StashFull(TrouperError):
    """The actor at `path` has stashed as many messages as its mailbox allows; the fault of who never unstashes them.

    Args:
        message: the refused message.
        path: the actor.
        capacity: how many messages it may stash.
    """

    def __init__(self, message: object, path: str, capacity: int) -> None:
        super().__init__(message, path, capacity)
        self.message = message
        self.path = path
        self.capacity = capacity

    def __str__(self) -> str:
        return (
            f"{self.path}: given {show(self.message)} to stash, but {self.capacity} messages are stashed already;"
            f" unstash them, or allow more with Mailbox(stash=...)"
        )


class AskError(TrouperError):
    """An ask ended without its answer.

    Args:
        message: the request.
        detail: what happened, in words, if the class does not say all.
    """

    said = "there is no answer"

    def __init__(self, message: object, detail: str = "") -> None:
        super().__init__()  # TimeoutError, a base of one of us, gives meaning to its arguments
        self.args = (message, detail)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return f"{show(self.message)}: {self.detail or self.said}"


class AskTimeout(AskError, TimeoutError):
    """The actor did not answer in time."""

    said = "no answer in time"


class ActorRestarted(AskError):
    """The actor crashed while it handled the request (its `__cause__`) and was, or will be, restarted."""

    said = "the actor crashed before it had answered"


class ActorStopped(AskError):
    """The actor is stopped for good, before or after the request came; `__cause__` is why, if it crashed."""

    said = "the actor is stopped"


class ReplyTypeError(AskError, TypeError):
    """The author of the actor answered with something else than the `R` of the `Request[R]`."""

    said = "the reply has the wrong type"


class ReplyDropped(AskError):
    """The author of the actor let go of the `ReplyTo` without an answer."""

    said = "the actor dropped the request without an answer"


class CallError(TrouperError):
    """A payload that a daemon was to `execute` or `call` has no result.

    Args:
        payload: what it was, in words.
        detail: what happened, in words, if the class does not say all.
    """

    said = "there is no result"

    def __init__(self, payload: str, detail: str = "") -> None:
        super().__init__()  # as in AskError
        self.args = (payload, detail)
        self.payload = payload
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.payload}: {self.detail or self.said}"


class CallTimeout(CallError, TimeoutError):
    """The payload was not done in time, and is cancelled; one in a thread runs on, and its result is dropped."""

    said = "not done in time"


class HookTimeout(CallError, TimeoutError):
    """A hook was not done in time, and is cancelled; the step before which it runs goes on."""

    said = "not done in time"


class DaemonStopped(CallError):
    """The daemon that was to run the payload has ended, before or meanwhile; what still ran is cancelled."""

    said = "the daemon has ended"


# -- failures in the tree ----------------------------------------------------------------------------------------------


class Failure(TrouperError):
    """Something in the tree failed; `__cause__` is the error of the user's code, where there is one.

    Args:
        path: where in the tree (or which lane).
        detail: what happened, in words, if the class does not say all.
    """

    said = "failed"

    def __init__(self, path: str, detail: str = "") -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.path}: {self.detail or self.said}"


class StartFailed(Failure):
    """A child failed while the tree was booted, or where it was spawned; the cause is its error."""

    said = "the start failed"


class StartTimeout(Failure):
    """A child was not ready within its `start_timeout`."""

    said = "the start took longer than `start_timeout`"


class NotReady(Failure):
    """A child whose option `readiness` is `"notify"` ended before it called `current(self).ready()`."""

    said = "it ended before it said that it is ready"


class ReloadTimeout(Failure):
    """The `on_reload` of an actor took longer than its `reload_timeout`, and the actor was killed."""

    said = "the reload took longer than `reload_timeout`"


class StopTimeout(Failure):
    """A child did not stop within its `shutdown` and was killed."""

    said = "the stop took longer than `shutdown`"


class RestartLimitExceeded(Failure):
    """A supervisor restarted more often than allowed, and gives up; `__cause__` is the last error of the child.

    Args:
        path: the supervisor (or the child, where each has its own budget).
        history: what was restarted, the oldest first.
        n: the restarts allowed ...
        within: ... in so many seconds.
    """

    def __init__(self, path: str, history: Sequence[object], n: int, within: float) -> None:
        super().__init__(path)
        self.args = (path, history, n, within)
        self.history = history
        self.n = n
        self.within = within

    def __str__(self) -> str:
        text = f"{self.path}: more than {self.n} restarts in {self.within:g} s"
        return f"{text}: {', '.join(map(str, self.history))}" if self.history else text


class Unkillable(Failure):
    """User code did not end when it was killed: it blocks, or swallows cancellation."""

    said = "it does not end, not even killed"


class LeakedScope(Failure):
    """A handler left a cancel scope, a nursery, a lock or a cancellation behind in the task that ran it."""

    said = "the handler left a scope, a nursery, a lock or a cancellation behind; open and close them in one handler"


class StrayCancellation(Failure):
    """A handler ended with a cancellation that nobody had asked for."""

    said = "cancelled, and nobody had asked for that"


class LaneBroken(Failure):
    """The event loop of a lane ended by itself, or cannot run."""

    said = "the lane is broken"


class OrphanedReturn(Failure):
    """The author of an adopted payload returns something else than None, which nobody is there to receive.

    Args:
        path: where it stands, `/adopted/NAME`.
        payload: what it is, in words.
        value: what it returned.
    """

    def __init__(self, path: str, payload: str, value: object) -> None:
        super().__init__(path)
        self.args = (path, payload, value)
        self.payload = payload
        self.value = value

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.payload} returned {show(self.value)}, and nobody is there to receive it;"
            f" allowed: None, or `execute` or `call` in the place of `adopt`"
        )


class WorkerDied(Failure):
    """A worker process ended; `__cause__` is what it said last, if it said why.

    Args:
        path: the worker.
        detail: how it ended, in words.
        pid: its process id; None if there was none.
        code: its exit code, the negative number of the signal that ended it, or None if nobody knows.
    """

    said = "the process ended"

    def __init__(self, path: str, detail: str = "", pid: int | None = None, code: int | None = None) -> None:
        super().__init__(path, detail)
        self.args = (path, detail, pid, code)
        self.pid = pid
        self.code = code


class LinkLost(Failure):
    """The other process died, or what came from it was no stream of frames (the cause says why)."""

    said = "the process is gone"


# -- between processes -------------------------------------------------------------------------------------------------


class FrameError(TrouperError):
    """What comes from another process is no stream of frames, or breaks the rules of one. The link ends with it.

    Args:
        at: the byte of the stream, or of a body, where it was seen.
        found: what is there, in words.
        allowed: what may be there, in words.
    """

    def __init__(self, at: int, found: str, allowed: str) -> None:
        super().__init__(at, found, allowed)
        self.at = at
        self.found = found
        self.allowed = allowed

    def __str__(self) -> str:
        return f"byte {self.at}: found {self.found}, allowed: {self.allowed}"


class RemoteError(TrouperError):
    """An actor in another process raised this; its traceback is a note of this error.

    Args:
        kind: the class of what was raised there, with its module.
        arguments: its arguments, those that are no plain values in words.
        text: its text.
    """

    def __init__(self, kind: str, arguments: tuple[object, ...] = (), text: str = "") -> None:
        super().__init__(kind, arguments, text)
        self.kind = kind
        self.arguments = arguments
        self.text = text

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class DaemonFailed(TrouperError):
    """Raised out of `async with open_daemon(...)`: a failure (its `__cause__`) reached the root of the tree.

    Args:
        exit_code: what a daemon that owns its process would have exited with.
        detail: what happened, in words.
    """

    def __init__(self, exit_code: int = 70, detail: str = "a failure reached the root") -> None:
        super().__init__(exit_code, detail)
        self.exit_code = exit_code
        self.detail = detail

    def __str__(self) -> str:
        return f"the daemon failed (exit code {self.exit_code}): {self.detail}"


# -- said by actors ----------------------------------------------------------------------------------------------------


class Shutdown(TrouperError):
    """Raise it in an actor to end it in good order: the reason is `shutdown`, which restarts permanent children only.

    Args:
        why: anything, for the log and for those who watch.
    """

    def __init__(self, why: object = None) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return "shutdown" if self.why is None else f"shutdown: {self.why}"


class Declined(TrouperError):
    """Raise it in `on_start` to decline to run, as OTP's `ignore`: the child keeps its place, nothing runs.

    Args:
        why: for the log.
    """

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"declined: {self.why}" if self.why else "declined"


class Stopping(BaseException):
    """Raised by the blocking calls of the runtime in a threading actor that was asked to stop. Let it pass."""


# -- words -------------------------------------------------------------------------------------------------------------


class Words(str):
    """A text that stands in an error without quotes, in the place of a value."""

    __slots__ = ()
    __repr__ = str.__str__


def show(value: object, limit: int = 200) -> str:
    """Return the repr of any value on one line of at most `limit` characters, also if its `__repr__` fails."""
    text = f"<{type_name(type(value))}>"
    with contextlib.suppress(Exception):
        text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def type_name(cls: type) -> str:
    """Return the name of a class as a user would write it: builtins bare, others with their module."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def type_names(types: Iterable[type]) -> str:
    """Return the names of classes, joined by `|`, or `no message at all`."""
    return " | ".join(map(type_name, types)) or "no message at all"
