"""Why an actor ended: OTP's exit reasons as one small value.

| kind | what happened | abnormal |
|---|---|---|
| `normal` | the actor stopped itself, or its `run` returned | no |
| `shutdown` | it was asked to stop, or it raised `Shutdown(why)` | no |
| `crashed` | a handler, a hook or a background task raised | yes |
| `killed` | it was cancelled because it did not end in time | yes |
| `start_failed` | construction or `on_start` raised | yes |
| `timeout` | its start, or its `on_reload`, took too long | yes |
| `restart_limit` | a supervisor gave up restarting its children | yes |

Supervision looks only at `abnormal` (a `transient` child is restarted after an abnormal end and after no other); the
kind, the cause and the why are for people, logs and `Terminated`.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs

Kind = Literal["normal", "shutdown", "crashed", "killed", "start_failed", "timeout", "restart_limit"]

_ORDINARY: Final = frozenset({"normal", "shutdown"})
_WORDS: Final = {"start_failed": "start failed", "timeout": "timed out", "restart_limit": "over its restart limit"}


@attrs.frozen
class Reason:
    """One way to end; compared by value (exceptions by identity).

    Args:
        kind: one of the seven kinds above.
        cause: the exception behind it, if there is one.
        why: what the actor or the supervisor wants to say beyond the kind, such as the argument of `Shutdown(why)`.
    """

    kind: Kind
    cause: BaseException | None = None
    why: object = None

    @property
    def abnormal(self) -> bool:
        """Whether a `transient` child that ended so is restarted."""
        return self.kind not in _ORDINARY

    def __str__(self) -> str:
        """Read as one line of a log: `crashed: ValueError: no such file`."""
        word = _WORDS.get(self.kind, self.kind)
        if self.cause is not None:
            return f"{word}: {_told(self.cause)}"
        return word if self.why is None else f"{word}: {_text(self.why)}"


NORMAL: Final = Reason("normal")
SHUTDOWN: Final = Reason("shutdown")
KILLED: Final = Reason("killed")


def crashed(cause: BaseException) -> Reason:
    """The reason of an actor that raised `cause`."""
    return Reason("crashed", cause)


def start_failed(cause: BaseException) -> Reason:
    """The reason of an actor whose constructor or `on_start` raised `cause`."""
    return Reason("start_failed", cause)


def timeout(cause: BaseException) -> Reason:
    """The reason of an actor whose start or `on_reload` took too long; `cause` is the `StartTimeout`, for instance."""
    return Reason("timeout", cause)


def restart_limit(cause: BaseException | None, why: object = None) -> Reason:
    """The reason of a supervisor that gave up.

    Args:
        cause: the `RestartLimitExceeded`; in the pure machine, which builds no errors, the last exception of the child.
        why: the history: what was counted, oldest first.
    """
    return Reason("restart_limit", cause, why)


def _told(error: BaseException) -> str:
    name, text = type(error).__name__, _text(error)
    return f"{name}: {text}" if text else name


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - what is the user's and cannot be told must not fail us
        return "(its text fails)"
