"""The options of a mailbox.

The default drops the newest message: a producer must not crash because a consumer is slow. What is dropped becomes a
dead letter, it does not vanish.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import attrs

from trouper.errors import SpecError

Overflow = Literal["drop_newest", "drop_oldest", "reject"]
"""What happens to a message for a full mailbox."""

DEFAULT_CAPACITY: Final = 100_000
DEFAULT_STASH: Final = 1_000


def _validate_capacity(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return
    raise SpecError("Mailbox", attribute.name, value, "an int of 1 or more (messages), or None for no bound")


def _validate_overflow(_: object, __: object, value: object) -> None:
    if value not in get_args(Overflow):
        raise SpecError("Mailbox", "overflow", value, " | ".join(map(repr, get_args(Overflow))))


@attrs.frozen
class Mailbox:
    """How many messages may wait for an actor, and what happens to one more.

    Args:
        capacity: the messages that may wait; `None` is no bound, chosen knowingly: the process may run out of memory.
        overflow: what to do with a message that does not fit. `"drop_newest"`: that message becomes a dead letter.
            `"drop_oldest"`: the one that waited longest does. `"reject"`: `send` raises `MailboxFull`.
            `offer` waits for room under every policy.
        stash: the messages that the actor may keep for later with `current(self).stash(message)`; `None` is no bound.

    Raises:
        SpecError: one of them is none of those.

    Example:
        `@actor(flavour=trio, mailbox=Mailbox(1, overflow="drop_oldest"))` keeps the latest only.
    """

    capacity: int | None = attrs.field(default=DEFAULT_CAPACITY, validator=_validate_capacity)
    overflow: Overflow = attrs.field(default="drop_newest", validator=_validate_overflow)
    stash: int | None = attrs.field(default=DEFAULT_STASH, validator=_validate_capacity)
