"""Events and log records on their way to another process: what they hold is replaced by what can travel."""

from __future__ import annotations

import pickle
from io import BytesIO
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from trouper.errors import Words, show
from trouper.reasons import Reason
from trouper.workers.peer import MAIN
from trouper.workers.told import Told, ToldReason, rebuild, rebuild_reason, tell, tell_reason

if TYPE_CHECKING:
    from trouper.events import Event

ToldEvent = tuple[type, tuple[Any, ...]]

PLAIN: Final = frozenset((NoneType, bool, int, float, str, Words))  # and no subclass, which may be made in its own way


def tell_event(event: Event) -> ToldEvent:
    """Put an event into what can be pickled. A value that cannot travel is replaced by its text."""
    return type(event), tuple(tell_value(getattr(event, field)) for field in event.__struct_fields__)


def rebuild_event(told: ToldEvent, where: str) -> Event:
    """Return the event as it arrives.

    Args:
        told: what came.
        where: the other process, for the notes of errors.
    """
    kind, values = told
    event: Event = kind(*(rebuild_value(value, where) for value in values))
    return event


def tell_value(value: Any) -> Any:
    match value:
        case _ if type(value) in PLAIN:
            return value
        case Reason():
            return tell_reason(value)
        case BaseException():
            return tell(value)
        case _:
            return travelled(value)


def rebuild_value(value: Any, where: str) -> Any:
    match value:
        case ToldReason():
            return rebuild_reason(value, where)
        case Told():
            return rebuild(value, where)
        case _:
            try:
                return Arrived(BytesIO(value)).load() if isinstance(value, bytes) else value
            except Exception as error:  # noqa: BLE001 - whatever a class does when it is made again
                return Words(f"(cannot be told: {type(error).__name__}: {error})")


class Arrived(pickle.Unpickler):
    """What another process of ours has pickled: its main module has another name there."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(MAIN.get(module, module), name)


def travelled(value: object) -> bytes | Words:
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever a class does when it is copied
        return Words(show(value))
