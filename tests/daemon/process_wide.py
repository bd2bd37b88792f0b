"""What of trouper belongs to the process and not to a daemon: found by a walk over the globals of all its modules."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import sys
from collections import deque
from functools import _lru_cache_wrapper
from threading import Lock, RLock, local
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import msgspec
import trio

import trouper
from tests.actors.stage import Echo, role
from trouper import Services, child, one_for_one, open_daemon, service

CONTAINERS = list, dict, set, deque, bytearray, WeakSet, WeakKeyDictionary, WeakValueDictionary
LOCKS = type(Lock()), type(RLock())


@role("trio")
class InTrio:
    async def receive(self, message: Echo) -> Any:
        return message.value


@role("asyncio")
class InAsyncio:
    async def receive(self, message: Echo) -> Any:
        return message.value


@role("threading")
class InThread:
    async def receive(self, message: Echo) -> Any:
        return message.value


@service(flavour="trio")
class Serves:
    async def run(self) -> None: ...


async def live() -> None:
    """The life of a daemon, in any loop."""
    children = [child(kind) for kind in (InTrio, InAsyncio, InThread)]
    services = Services()
    with services.here():
        Serves()
    async with open_daemon(one_for_one(*children), services=services) as daemon:
        for one in children:
            assert await one.ref.ask(Echo(1)) == 1
            assert await daemon.call(int, "2", flavour="threading") == 2
        assert await daemon.reload() == ()


def modules() -> list[ModuleType]:
    """All of trouper's, but for the entry points: the command, and the plugin of pytest."""
    for info in pkgutil.walk_packages(trouper.__path__, "trouper."):
        if info.name not in {"trouper.__main__", "trouper.testing.plugin"}:
            importlib.import_module(info.name)
    return [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "trouper"]


def process_wide() -> dict[int, tuple[str, Any]]:
    """By identity, the name and the value of all that could change; not what other packages have."""
    ours = modules()
    others = {
        id(value)
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] not in {"trouper", "tests", "__main__"}
        for value in getattr(module, "__dict__", {}).values()
    }
    found: dict[int, tuple[str, Any]] = {}
    for module in ours:
        for name, value in vars(module).items():
            if not name.startswith("__") and id(value) not in others and can_change(value):
                found[id(value)] = name, value
            if isinstance(value, type) and value.__module__ == module.__name__:
                for attribute, of_class in vars(value).items():
                    if isinstance(of_class, (*CONTAINERS, *LOCKS)) and not attribute.startswith("__"):
                        found[id(of_class)] = f"{value.__name__}.{attribute}", of_class
    return found


def can_change(value: object) -> bool:
    if isinstance(value, (*CONTAINERS, *LOCKS, _lru_cache_wrapper, local)):
        return True
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.frozen
    kind: Any = type(value)
    if isinstance(value, (type, ModuleType, logging.Logger)) or kind.__module__ in {"builtins", "types", "typing"}:
        return False
    if kind.__setattr__.__name__ == "_frozen_setattrs":
        return False
    return bool(getattr(value, "__dict__", None) or any(getattr(base, "__slots__", ()) for base in kind.__mro__))


def bindings() -> dict[tuple[str, str], object]:
    """What each global name stands for."""
    return {(module.__name__, name): value for module in modules() for name, value in vars(module).items()}


def main() -> None:
    """Say what could change, and what of it has, by the lives of two daemons."""
    bound = bindings()
    before = {identity: repr(value) for identity, (_, value) in process_wide().items()}
    trio.run(live)
    asyncio.run(live())
    for identity, (name, value) in sorted(process_wide().items(), key=lambda one: one[1][0]):
        print(name, "as before" if before.get(identity) == repr(value) else f"is now {value!r}")  # noqa: T201
    for (module, name), value in bindings().items():
        if bound.get((module, name), value) is not value:
            print(f"{module}.{name} is another object now")  # noqa: T201
