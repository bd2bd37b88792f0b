"""Flavours: how code runs, named by the module object or by its name."""

from __future__ import annotations

from types import ModuleType
from typing import Final, Literal, get_args

from trouper.errors import SpecError

FlavourName = Literal["trio", "asyncio", "threading"]
Flavour = ModuleType | FlavourName
"""What a user writes: `flavour=trio` or `flavour="trio"`."""

_NAMES: Final[dict[str, FlavourName]] = {name: name for name in get_args(FlavourName)}


def flavour_name(flavour: object, where: str) -> FlavourName:
    """Return the name of a flavour. Who names asyncio is going to need its lane, and imports it here.

    Args:
        flavour: one of the modules trio, asyncio and threading, or its name.
        where: the place of the call, for the error.

    Raises:
        SpecError: it is none of them.
    """
    name = flavour.__name__ if type(flavour) is ModuleType else flavour
    if isinstance(name, str) and name in _NAMES:
        if name == "asyncio":
            import trouper.lanes.asyncio_lane  # noqa: F401, PLC0415 - for who names it: a tenth of the start of others
        return _NAMES[name]
    raise SpecError(where, "flavour", flavour, "the module trio, asyncio or threading, or its name as a string")
