"""How long a supervisor waits before it restarts a child, and for how long it goes on trying.

The first restart comes at once, since most failures are over with the life that had them. The next ones wait, each
longer than the one before, up to a cap, and a little at random so that many children do not come back in step. A child
that stayed up long enough begins anew.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

import attrs

from trouper.errors import SpecError, type_name


def _rule(lowest: float, highest: float, allowed: str) -> Any:
    def check(value: Backoff, attribute: attrs.Attribute[Any], given: object) -> None:
        if isinstance(given, int | float) and not isinstance(given, bool) and lowest <= given <= highest:
            return
        raise SpecError(type_name(type(value)), attribute.name, given, allowed)

    return check


_HUGE: Final = 1e9
_SECONDS: Final = "seconds: a number of 0 or more, and finite"


@attrs.frozen
class Backoff:
    """The delays between the restarts of a child that fails again and again: exponential, capped, with jitter.

    Every restart counts against the limit of the supervisor, so a child that cannot be healed still escalates.

    Args:
        first: seconds before the first restart.
        base: seconds before the second.
        cap: seconds that no delay exceeds.
        factor: how many times longer each further delay is.
        jitter: the part of a delay, from 0 to 1, that is left to chance; it only ever shortens.
        reset_after: seconds of uptime after which a child counts as healthy, and the delays begin anew.

    Raises:
        SpecError: one of them is not allowed; the text says what is.

    Example:
        `child(Feed).options(backoff=Backoff(base=1.0, cap=60.0))`
    """

    first: float = attrs.field(default=0.0, validator=_rule(0, _HUGE, _SECONDS))
    base: float = attrs.field(default=0.2, validator=_rule(0, _HUGE, _SECONDS))
    cap: float = attrs.field(default=30.0, validator=_rule(0, _HUGE, _SECONDS))
    factor: float = attrs.field(default=2.0, validator=_rule(1, _HUGE, "a finite number of 1 or more"))
    jitter: float = attrs.field(default=0.2, validator=_rule(0, 1, "a number from 0 to 1"))
    reset_after: float = attrs.field(default=30.0, validator=_rule(0, inf, "seconds: a number of 0 or more, or inf"))

    def delay(self, failures: int, chance: float) -> float:
        """How long to wait before a restart.

        Args:
            failures: how many there were in a row, 1 for the first.
            chance: a random number, from 0 to less than 1.

        Returns:
            Seconds, never more than the cap.
        """
        if failures == 1:
            full = self.first
        else:
            try:
                full = self.base * float(self.factor) ** (failures - 2)
            except OverflowError:
                full = inf if self.base else 0.0
        return min(full, self.cap) * (1.0 - self.jitter * chance)


class Persist(Backoff):
    """As `Backoff`, for ever: the restarts do not count, and meanwhile the daemon is *degraded*.

    For children that depend on what may be away for long, such as a remote service. `Backoff` says what the arguments
    mean.
    """

    __slots__ = ()  # and no attrs class of its own: it has nothing to add


DEFAULT_BACKOFF: Final = Backoff()
PATIENCE_RULE: Final = "a Backoff(...), a Persist(...), or None for no delay"


def is_patience(value: object) -> bool:
    """Return whether this can be the `backoff` of a child."""
    return value is None or isinstance(value, Backoff)
