"""The options of a child: their defaults, and what is allowed in each.

They are given with the class (`@actor(flavour=trio, restart="transient")`) and overridden where the class is used
(`child(Web).options(restart="temporary")`). An `Options` remembers which of them somebody chose, so that `spawn` can
have a default of its own.
"""

from __future__ import annotations

import math
import operator
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack, get_args

import msgspec
from msgspec.structs import force_setattr

from trouper.errors import SpecError
from trouper.mailbox.mailbox import Mailbox
from trouper.patience import DEFAULT_BACKOFF, PATIENCE_RULE, Backoff, is_patience

if TYPE_CHECKING:
    from collections.abc import Callable

Restart = Literal["permanent", "transient", "temporary"]
"""Which ends restart a child: every one, an abnormal one, none."""

Readiness = Literal["on_start", "notify"]
"""When a child counts as started: when its `on_start` is done, or when it calls `current(self).ready()`."""


class Choices(TypedDict, total=False):
    """The options of a child as keywords; `Options` says what they mean."""

    name: str | None
    restart: Restart
    shutdown: float
    start_timeout: float
    reload_timeout: float
    significant: bool
    mailbox: Mailbox
    drain: bool
    backoff: Backoff | None
    readiness: Readiness
    optional: bool
    abandon: bool


def is_seconds(value: object, *, zero: bool) -> bool:
    """Return whether this is a duration in seconds: a real number above zero (or zero, if allowed), not NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return False
    return value > 0 or (zero and value == 0)


def is_name(value: object) -> bool:
    """Return whether this can be a name in a tree, one step of a path."""
    return (
        isinstance(value, str) and value != "" and "/" not in value and value.isprintable() and value.strip() == value
    )


NAME_RULE: Final = 'a printable string that is not empty, has no "/" and no space around it; None for the default name'
RESTART_RULE: Final = " | ".join(map(repr, get_args(Restart)))
SHUTDOWN_RULE: Final = "seconds: a number of 0 (at once) or more, or math.inf"
BOOL_RULE: Final = "True | False"


def is_restart(value: object) -> bool:
    """Return whether this is one of the three kinds of `restart`."""
    return value in get_args(Restart)


def is_bool(value: object) -> bool:
    """Return whether this is True or False."""
    return isinstance(value, bool)


_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "name": (lambda value: value is None or is_name(value), NAME_RULE),
    "restart": (is_restart, RESTART_RULE),
    "shutdown": (lambda value: is_seconds(value, zero=True), SHUTDOWN_RULE),
    "start_timeout": (lambda value: is_seconds(value, zero=False), "seconds: a number above 0, or math.inf"),
    "reload_timeout": (lambda value: is_seconds(value, zero=False), "seconds: a number above 0, or math.inf"),
    "significant": (is_bool, BOOL_RULE),
    "mailbox": (lambda value: isinstance(value, Mailbox), "a Mailbox(capacity=..., overflow=...)"),
    "drain": (is_bool, BOOL_RULE),
    "backoff": (is_patience, PATIENCE_RULE),
    "readiness": (lambda value: value in get_args(Readiness), " | ".join(map(repr, get_args(Readiness)))),
    "optional": (is_bool, BOOL_RULE),
    "abandon": (is_bool, BOOL_RULE),
}

OPTION_NAMES: Final = tuple(_RULES)
_values: Final = operator.attrgetter(*OPTION_NAMES)


def check_option(where: object, name: str, value: object) -> None:
    """Refuse an option that does not exist or does not allow this value.

    Raises:
        SpecError: with the text of `where` as its path.
    """
    if name not in _RULES:
        raise SpecError(str(where), name, value, f"the options {', '.join(OPTION_NAMES)}")
    allows, rule = _RULES[name]
    if not allows(value):
        raise SpecError(str(where), name, value, rule)


def refuse_abandon(where: object, options: Options, flavour: str) -> None:
    """Only a thread can be left behind; async code is cancelled.

    Raises:
        SpecError: with the text of `where` as its path.
    """
    if options.abandon and flavour != "threading":
        raise SpecError(str(where), "abandon", True, f"False in the flavour {flavour}, whose code is cancelled")  # noqa: FBT003 - the value


class Options(msgspec.Struct, frozen=True):
    """The options of one child.

    Args:
        name: its name in the tree; `None` is the name of its class in snake_case.
        restart: which ends restart it: `"permanent"` every one, `"transient"` an abnormal one, `"temporary"` none
            (as in OTP).
        shutdown: seconds for its graceful stop; 0 is at once, `math.inf` as long as it takes.
        start_timeout: seconds for construction and `on_start`.
        reload_timeout: seconds for `on_reload`, and as many to wait for its turn.
        significant: whether its own end can end its supervisor (see `auto_shutdown`).
        mailbox: the capacity of its mailbox and what happens beyond.
        drain: whether a graceful stop handles what is queued first.
        backoff: the delays before its restarts, a `Backoff` or `Persist`; None is none, as in OTP.
        readiness: whether it counts as started when its `on_start` is done (`"on_start"`), or when it calls
            `current(self).ready()` (`"notify"`).
        optional: whether the boot goes on without waiting for it, and does not fail with it.
        abandon: whether a thread that does not stop at the end of the daemon is left behind without failing it.
        given: the names of the options that somebody chose; by default those that differ from the defaults.

    Raises:
        SpecError: one of them is not allowed; the text says what is.
    """

    name: str | None = None
    restart: Restart = "permanent"
    shutdown: float = 5.0
    start_timeout: float = 30.0
    reload_timeout: float = 30.0
    significant: bool = False
    mailbox: Mailbox = Mailbox()
    drain: bool = False
    backoff: Backoff | None = DEFAULT_BACKOFF
    readiness: Readiness = "on_start"
    optional: bool = False
    abandon: bool = False
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what is not allowed, and see what was chosen."""
        values = _values(self)
        for name, value in zip(OPTION_NAMES, values, strict=True):
            check_option("Options", name, value)
        if not self.given:
            named = zip(OPTION_NAMES, values, self.__struct_defaults__, strict=False)
            force_setattr(self, "given", frozenset(name for name, value, default in named if value != default))

    def replace(self, where: object = "Options", /, **changes: Unpack[Choices]) -> Options:
        """Return these options with some of them chosen anew; `given` grows by their names.

        Args:
            where: the place of the call, whose text is the path in the error.
            changes: any of the options, by name.

        Raises:
            SpecError: an option does not exist or does not allow its value.
        """
        for name, value in changes.items():
            check_option(where, name, value)
        new = copy(self)
        for name, value in changes.items():
            force_setattr(new, name, value)
        force_setattr(new, "given", self.given.union(changes))
        return new
