"""What happened in one process, as it can be told in another: errors, reasons and events that survive the way."""

from __future__ import annotations

import pickle
import traceback
from typing import Any, TypeVar

import attrs

from trouper.errors import RemoteError, Words, show, type_name
from trouper.events import Event
from trouper.reasons import Reason

E = TypeVar("E", bound=Event)


def travels(value: object) -> bool:
    """Whether pickle takes it there, and makes it again."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - it is our own; many errors fail only here
    except Exception:  # noqa: BLE001 - whatever a class does when it is copied
        return False
    return True


def portable_error(error: BaseException) -> BaseException:
    """Return a copy of an error that can travel, with its traceback as a note; a `RemoteError` if it cannot itself."""
    told = "".join(traceback.format_exception(error)).rstrip()
    if travels(error):
        copy: BaseException = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    else:
        copy = RemoteError(type_name(type(error)), Words(_text(error)))
    copy.add_note(f"in the other process:\n{told}")
    return copy


def portable_reason(reason: Reason) -> Reason:
    cause = None if reason.cause is None else portable_error(reason.cause)
    return attrs.evolve(reason, cause=cause, why=_portable(reason.why))


def portable_event(event: E) -> E:
    """Return an event whose fields can travel; a value that cannot is replaced by its text."""
    return type(event)(*(_portable(getattr(event, field)) for field in event.__struct_fields__))


def _portable(value: Any) -> Any:
    match value:
        case None | str() | int() | float():
            return value
        case Reason():
            return portable_reason(value)
        case BaseException():
            return portable_error(value)
        case _:
            return value if travels(value) else Words(show(value))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's
        return "(its text fails)"
