"""What the supervision machine asks of the world: one small immutable value per action.

The machine appends them to `Machine.actions`; whoever drives it carries them out in order. `Start` and `Stop` want an
answer (`started`, `declined` or `start_failed`; `stopped`). The others want none, but `Retry` wants one call of
`resume`, and `Wait` one of `due`.
"""

from __future__ import annotations

import msgspec

from trouper.reasons import Reason


class Start(msgspec.Struct, frozen=True):
    """Start this generation of a child; answer with `started`, `declined` or `start_failed`."""

    id: str
    generation: int


class Stop(msgspec.Struct, frozen=True):
    """Stop this generation, which may be starting still, or over by now; answer with `stopped` in every case."""

    id: str
    generation: int


class Close(msgspec.Struct, frozen=True):
    """The child does not run and nobody plans to start it: its mailbox becomes dead letters until its next `Start`."""

    id: str


class Forget(msgspec.Struct, frozen=True):
    """The child's spec is gone: close it and let go of it."""

    id: str


class Up(msgspec.Struct, frozen=True):
    """The boot is complete."""


class Restarting(msgspec.Struct, frozen=True):
    """An automatic restart was decided and counted; for the log."""

    id: str
    reason: Reason
    """Why: the exit of the child, or the failure of the last attempt to restart it."""
    used: int
    """How many restarts count now, this one included ..."""
    n: int
    """... and how many may."""
    delay: float = 0.0
    """Seconds until it comes."""
    counted: bool = True
    """Whether it counts; else it is tried for ever."""


class Retry(msgspec.Struct, frozen=True):
    """A restart failed: call `resume` once, from the back of your own queue, so that requests get a turn before."""


class Wait(msgspec.Struct, frozen=True):
    """Call `due` with the child and its generation when so many seconds are over."""

    id: str
    generation: int
    seconds: float


class Held(msgspec.Struct, frozen=True):
    """The child is down because an operator holds it, or (`held` is false) not any more."""

    id: str
    held: bool


class Answer(msgspec.Struct, frozen=True):
    """The reply to a request.

    One of OTP's words: `ok`, `ok_undefined` (it declined to run), `already_started`, `already_present`, `running`,
    `restarting`, `not_found`, `nope` (the start failed), `bad_combination` (significance is not allowed there),
    `simple_one_for_one` (not for spawned children); and ours: `shutting_down`, `held`, `not_held`.
    """

    ticket: object
    result: str
    reason: Reason | None = None
    """Why the start failed, for `nope`."""


class BootFailed(msgspec.Struct, frozen=True):
    """The last word: this child failed to start at boot, and all that ran is stopped."""

    id: str
    reason: Reason


class Down(msgspec.Struct, frozen=True):
    """The last word: the supervisor ended itself, and all that ran is stopped.

    The reason is `shutdown` (auto-shutdown), or `restart_limit` with the last exception as its `cause` and the history
    as its `why`: a tuple of `Attempt`, oldest first.
    """

    reason: Reason


class Stopped(msgspec.Struct, frozen=True):
    """The last word, once `stop` was called: all that ran is stopped."""


class Attempt(msgspec.Struct, frozen=True):
    """One counted restart, as the history of a supervisor that gave up tells it."""

    at: float
    id: str
    reason: Reason


Last = BootFailed | Down | Stopped
Action = Start | Stop | Close | Forget | Up | Restarting | Retry | Wait | Held | Answer | Last


def fails(last: Last | None) -> bool:
    """Return whether this last word tells of a failure."""
    return isinstance(last, BootFailed) or (isinstance(last, Down) and last.reason.abnormal)
